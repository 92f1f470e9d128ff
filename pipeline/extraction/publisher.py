"""Publishing finished sequences beside the making of the next ones.

Waiting until the disk has flushed a file is most of what a small video costs, and hashing its source file is seconds of
a large one. Both are done in a few threads: a disk flushes several files nearly as fast as one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

from pipeline.video.videos import VideoFile

_THREADS = 8
_MOST_WAITING = 2 * _THREADS


class Publisher:
    """Runs what publishes a video in threads, and tells in the order of the videos what became of it."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(_THREADS)
        self._waiting: deque[tuple[VideoFile, Future[bool]]] = deque()

    def submit(self, video: VideoFile, publish: Callable[[], bool]) -> None:
        """Begins ``publish()``, whose answer :meth:`published` gives."""
        self._waiting.append((video, self._pool.submit(publish)))

    def published(self) -> Iterator[tuple[VideoFile, bool]]:
        """The videos whose turn has come, with the answers; waits only where too many are on the way.

        Raises:
            whatever ``publish`` raised.
        """
        while self._waiting and (self._waiting[0][1].done() or len(self._waiting) > _MOST_WAITING):
            yield self._next()

    def all(self) -> Iterator[tuple[VideoFile, bool]]:
        """The same, of all videos submitted: waits for each."""
        while self._waiting:
            yield self._next()

    def _next(self) -> tuple[VideoFile, bool]:
        video, answer = self._waiting.popleft()
        return video, answer.result()

    def close(self) -> None:
        """Waits for all that has begun, and raises nothing. Then nothing is under way."""
        self._pool.shutdown(wait=True)
        self._waiting.clear()

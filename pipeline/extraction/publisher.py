"""Publish finished sequences in threads while the next ones are made.

The wait for the disk to flush a file is most of the cost of a small video; hashing the source file takes seconds for a
large one. A few threads do both: a disk flushes several files nearly as fast as one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

from pipeline.video.videos import VideoFile

_THREADS = 8
_MAX_WAITING = 2 * _THREADS


class Publisher:
    """Runs publish calls in threads and returns their answers in the order of the videos."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(_THREADS)
        self._waiting: deque[tuple[VideoFile, Future[bool]]] = deque()

    def submit(self, video: VideoFile, publish: Callable[[], bool]) -> None:
        """Start `publish()`; `published` returns its answer later."""
        self._waiting.append((video, self._pool.submit(publish)))

    def published(self) -> Iterator[tuple[VideoFile, bool]]:
        """Yield the next finished videos with their answers; wait only while too many calls are pending.

        Raises:
            Exception: whatever `publish` raised.
        """
        while self._waiting and (self._waiting[0][1].done() or len(self._waiting) > _MAX_WAITING):
            yield self._next()

    def all(self) -> Iterator[tuple[VideoFile, bool]]:
        """Wait for all submitted videos; yield them with their answers."""
        while self._waiting:
            yield self._next()

    def _next(self) -> tuple[VideoFile, bool]:
        video, answer = self._waiting.popleft()
        return video, answer.result()

    def close(self) -> None:
        """Wait for all started calls; ignore their errors."""
        self._pool.shutdown(wait=True)
        self._waiting.clear()

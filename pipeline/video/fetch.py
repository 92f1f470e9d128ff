"""Videos from object storage, each with a local copy while it is decoded; a few are fetched ahead.

Decoders get files, never the network: a decoder that a hostile file has taken over finds no credentials among its
variables. Local videos pass through as they are.
"""

from __future__ import annotations

import errno
import hashlib
import itertools
import shutil
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import TracebackType

from pipeline.errors import StorageError
from pipeline.storage.local import cache_bytes, new_partial
from pipeline.storage.location import RemotePath
from pipeline.video.errors import FailureKind
from pipeline.video.pool import Event, Failed, Finished
from pipeline.video.videos import LocalCopy, VideoFile

_FETCHED_AHEAD = 4
_FULL = (errno.ENOSPC, errno.EDQUOT)


class FetchedVideos:
    """An iterator of videos for a :class:`pipeline.video.pool.DecodePool`, and a context manager.

    All copies together, those being decoded included, stay within the cache's limit, unless a single video is larger.
    A copy is removed when its video has ended.

    Args:
        videos: taken one by one; remote ones a few ahead.
    """

    def __init__(self, videos: Iterable[VideoFile]) -> None:
        self._videos = iter(videos)
        self._next: VideoFile | None = None  # taken, and waiting for room
        self._coming: deque[tuple[VideoFile, Future[LocalCopy]]] = deque()
        self._held: dict[str, int] = {}  # bytes of each video fetched or being fetched, until it has ended
        self._at_work: set[str] = set()  # remote videos handed on that have not ended
        self._failed: deque[Failed] = deque()
        self._folder: Path | None = None
        self._numbers = itertools.count()
        self._threads = ThreadPoolExecutor(_FETCHED_AHEAD)
        self._stop = threading.Event()  # an interrupted job does not wait for a video of an hour

    def __enter__(self) -> FetchedVideos:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._threads.shutdown(cancel_futures=True)
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def __iter__(self) -> FetchedVideos:
        return self

    def __next__(self) -> VideoFile | None:
        """The next video; None when it is still on its way and others are at work meanwhile."""
        while True:
            if (local := self._fetch_ahead()) is not None:
                return local
            if not self._coming:
                if self._next is not None:
                    return None  # no room before another has ended
                raise StopIteration
            video, coming = self._coming[0]
            if not coming.done() and self._at_work:
                return None
            self._coming.popleft()
            try:
                copy = coming.result()
            except (OSError, StorageError) as error:
                self._failed.append(Failed(video, *_why(error)))
                self._held.pop(video.id)
                continue
            self._at_work.add(video.id)
            return replace(video, copy=copy)

    def watch(self, events: Iterator[Event]) -> Iterator[Event]:
        """The events of the pool that decodes these videos, and the failures of those that could not be fetched."""
        for event in events:
            if isinstance(event, (Finished, Failed)):
                self._release(event.video)
                yield event
                yield from self._failures()
            else:
                yield event
        yield from self._failures()

    def _failures(self) -> Iterator[Failed]:
        while self._failed:
            yield self._failed.popleft()

    def _release(self, video: VideoFile) -> None:
        if video.copy is not None:
            video.copy.file.unlink(missing_ok=True)
            self._held.pop(video.id)
            self._at_work.discard(video.id)

    def _fetch_ahead(self) -> VideoFile | None:
        """Begins to fetch the next videos, as far as there is room; a local one is handed back when its turn is."""
        while len(self._coming) < _FETCHED_AHEAD:
            if self._next is None:
                self._next = next(self._videos, None)
            video = self._next
            if video is None:
                return None
            if not isinstance(video.path, RemotePath):
                if self._coming:
                    return None
                self._next = None
                return video
            size = _size(video.path)
            if self._held and sum(self._held.values()) + size > cache_bytes():
                return None
            self._next = None
            self._held[video.id] = size
            self._coming.append(
                (video, self._threads.submit(_fetch, video.path, self._file_for(video.path), self._stop))
            )
        return None

    def _file_for(self, path: RemotePath) -> Path:
        """A file of its own for a video; of its name nothing but the suffix, by which some containers are known."""
        if self._folder is None:
            self._folder = new_partial("videos")
            self._folder.mkdir()
        return self._folder / f"{next(self._numbers)}{path.suffix if path.suffix[1:].isalnum() else ''}"


def _fetch(path: RemotePath, file: Path, stop: threading.Event) -> LocalCopy:
    try:
        path.download(file, stop=stop)
        digest = hashlib.sha256()
        with file.open("rb") as content:
            while block := content.read(1 << 20):
                digest.update(block)
    except BaseException:
        file.unlink(missing_ok=True)
        raise
    return LocalCopy(file, digest.hexdigest())


def _size(path: RemotePath) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:  # fetching it will fail, with the reason
        return 0


def _why(error: OSError | StorageError) -> tuple[FailureKind, str]:
    if isinstance(error, StorageError):
        return "not_fetched", str(error)
    words = error.strerror or str(error)  # without the name of the copy, which is a new one in each run
    if error.errno in _FULL:
        return "disk_full", f"no room for a copy of the video ({words}); free some, or name another --cache-folder"
    return "unreadable", words

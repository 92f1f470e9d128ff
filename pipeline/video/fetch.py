"""Download videos from object storage, a few ahead; each has a local copy while it is decoded.

Decoders get files and no network access: a decoder under the control of a hostile file finds no credentials in its
environment. Local videos pass through unchanged.
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
from pipeline.video.events import Event, Failed, Finished
from pipeline.video.videos import LocalCopy, VideoFile

_DOWNLOADS_AHEAD = 4
_FULL = (errno.ENOSPC, errno.EDQUOT)


class FetchedVideos:
    """An iterator of videos for a `pipeline.video.pool.DecodePool`, and a context manager.

    All copies together, including those in decoding, stay within the cache's limit, unless a single video is larger.
    A copy is removed when its video ends.

    Args:
        videos: taken one by one; remote ones a few ahead.
    """

    def __init__(self, videos: Iterable[VideoFile]) -> None:
        self._videos = iter(videos)
        self._next: VideoFile | None = None  # waits for room in the cache
        self._coming: deque[tuple[VideoFile, Future[LocalCopy]]] = deque()
        self._held: dict[str, int] = {}  # bytes of each copy, from the start of its download until its video ends
        self._at_work: set[str] = set()  # ids of remote videos in decoding
        self._failed: deque[Failed] = deque()
        self._folder: Path | None = None
        self._numbers = itertools.count()
        self._threads = ThreadPoolExecutor(_DOWNLOADS_AHEAD)
        self._stop = threading.Event()  # so that an interrupted job does not wait for the download of an hour of video

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
        """Return the next video; None while it still downloads and others are in decoding."""
        while True:
            if (local := self._fetch_ahead()) is not None:
                return local
            if not self._coming:
                if self._next is not None:
                    return None  # no room until another video ends
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
        """Pass on the events of the pool that decodes these videos; add the failures of downloads."""
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
        """Start downloads as far as there is room; return the next video if it is local."""
        while len(self._coming) < _DOWNLOADS_AHEAD:
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
        """Return a new file for a copy. It keeps the suffix, which FFmpeg needs to recognize some containers."""
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
    except FileNotFoundError:  # the download will fail and give the reason
        return 0


def _why(error: OSError | StorageError) -> tuple[FailureKind, str]:
    if isinstance(error, StorageError):
        return "not_fetched", str(error)
    words = error.strerror or str(error)  # without the name of the copy, which differs in each run
    if error.errno in _FULL:
        return "disk_full", f"no room for a copy of the video ({words}); free some, or name another --cache-folder"
    return "unreadable", words

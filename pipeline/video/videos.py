"""The list of videos of a job, kept outside the memory of the process: a job over millions starts like one over ten."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import overload

from pipeline.errors import PipelineError
from pipeline.storage.location import AnyPath, RemotePath
from pipeline.storage.remote import Remote


@dataclass(frozen=True, slots=True)
class LocalCopy:
    """The local copy of a remote video, and the SHA-256 of its bytes in hexadecimal."""

    file: Path
    sha256: str


@dataclass(frozen=True)
class VideoFile:
    """A video: its id (unique within a job), its path, and its local copy if it is remote.

    Args:
        frame_rate: pictures a second, if the path is a folder of numbered pictures.
    """

    id: str
    path: AnyPath
    copy: LocalCopy | None = None
    frame_rate: Fraction | None = None

    @property
    def file(self) -> AnyPath:
        """The file that a decoder opens."""
        return self.path if self.copy is None else self.copy.file


class SameIdError(PipelineError):
    """Two videos of a job would get the same id."""


class VideoList(Sequence[VideoFile]):
    """Videos in the order of their addition, with unique ids and paths.

    A private SQLite table keeps some thousand videos in memory and the others in a temporary file (in SQLITE_TMPDIR or
    TMPDIR), which disappears with the list. Remote paths share one `Remote` object each, which stays in memory.
    """

    def __init__(self) -> None:
        # An empty name makes a private database that is removed when it is closed.
        self._table = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        self._table.execute("PRAGMA journal_mode = OFF")  # no need to recover after a crash
        self._table.execute(
            "CREATE TABLE videos "
            "(place INTEGER PRIMARY KEY, id BLOB UNIQUE, path BLOB UNIQUE, remote INTEGER, rate TEXT)"
        )
        self._remotes: dict[Remote, int] = {}
        self._count = 0

    def add(self, video_id: str, path: AnyPath, *, frame_rate: Fraction | None = None) -> bool:
        """Add a video; return False if its path is already in the list.

        Args:
            path: absolute path.
            frame_rate: pictures a second, if the path is a folder of numbered pictures.

        Raises:
            SameIdError: another path has this id.
            PipelineError: the temporary folder is full.
        """
        row = (_as_bytes(video_id), _as_bytes(str(path)) if isinstance(path, RemotePath) else os.fsencode(path))
        remote = self._remotes.setdefault(path.remote, len(self._remotes)) if isinstance(path, RemotePath) else None
        rate = None if frame_rate is None else str(frame_rate)
        try:
            if self._table.execute("SELECT 1 FROM videos WHERE path = ?", row[1:]).fetchone():
                return False
            self._table.execute("INSERT INTO videos VALUES (?, ?, ?, ?, ?)", (self._count, *row, remote, rate))
        except sqlite3.IntegrityError:
            (other,) = self._table.execute("SELECT path FROM videos WHERE id = ?", row[:1]).fetchone()
            raise SameIdError(f"videos: {os.fsdecode(other)} and {path} would both get the id {video_id!r}") from None
        except sqlite3.OperationalError as error:
            raise PipelineError(
                f"videos: their list does not fit in the temporary folder ({error}); free some room there, or name "
                "another folder with SQLITE_TMPDIR"
            ) from None
        self._count += 1
        return True

    def only(self, is_wanted: Callable[[str], bool]) -> VideoList:
        """Return a new list of the videos whose ids are wanted."""
        wanted = VideoList()
        for video in self:
            if is_wanted(video.id):
                wanted.add(video.id, video.path, frame_rate=video.frame_rate)
        return wanted

    def beginning_at(self, place: int) -> Iterator[VideoFile]:
        """Yield all videos, from the one at `place` to the last, then from the first on."""
        return chain(self._between(place, self._count), self._between(0, place))

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[VideoFile]:
        return self._between(0, self._count)

    @overload
    def __getitem__(self, place: int) -> VideoFile: ...

    @overload
    def __getitem__(self, place: slice) -> list[VideoFile]: ...

    def __getitem__(self, place: int | slice) -> VideoFile | list[VideoFile]:
        if isinstance(place, slice):
            return [self[number] for number in range(*place.indices(self._count))]
        if not -self._count <= place < self._count:
            raise IndexError(f"place {place} of {self._count} videos")
        return next(self._between(place % self._count, self._count))

    def _between(self, first: int, end: int) -> Iterator[VideoFile]:
        remotes = list(self._remotes)
        words = "SELECT id, path, remote, rate FROM videos WHERE place >= ? AND place < ? ORDER BY place"
        for video_id, path, remote, rate in self._table.execute(words, (first, end)):
            place = Path(os.fsdecode(path)) if remote is None else RemotePath(_as_text(path), remotes[remote])
            yield VideoFile(_as_text(video_id), place, frame_rate=None if rate is None else Fraction(rate))


def _as_bytes(name: str) -> bytes:
    """Encode a file name, which need not be text, so that it can be restored exactly."""
    return name.encode("utf-8", "surrogateescape")


def _as_text(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")

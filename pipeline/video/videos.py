"""The videos of a job, held outside the memory of the process: a night's job over millions starts like one over ten."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import overload

from pipeline.errors import PipelineError
from pipeline.storage.location import AnyPath, RemotePath
from pipeline.storage.remote import Remote


@dataclass(frozen=True, slots=True)
class LocalCopy:
    """What a remote video is decoded from, and the SHA-256 of its bytes, hexadecimal."""

    file: Path
    sha256: str


@dataclass(frozen=True)
class VideoFile:
    """A video to work on: its id (unique within a job), where it lies, and its copy where that is not here."""

    id: str
    path: AnyPath
    copy: LocalCopy | None = None

    @property
    def file(self) -> AnyPath:
        """What a decoder opens."""
        return self.path if self.copy is None else self.copy.file


class SameIdError(PipelineError):
    """Two videos of a job would get one id."""


class VideoList(Sequence[VideoFile]):
    """Videos in the order in which they are added, ids and paths all different.

    A private table of SQLite, which keeps some thousand videos in memory and the others in a temporary file (where
    SQLITE_TMPDIR or TMPDIR says) that is gone with the list. What is known of remote files is shared by their paths and
    stays in memory.
    """

    def __init__(self) -> None:
        # An empty name makes a database of its own that is removed when it is closed.
        self._table = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        self._table.execute("PRAGMA journal_mode = OFF")  # nobody reads what a crash leaves
        self._table.execute(
            "CREATE TABLE videos (place INTEGER PRIMARY KEY, id BLOB UNIQUE, path BLOB UNIQUE, remote INTEGER)"
        )
        self._remotes: dict[Remote, int] = {}
        self._count = 0

    def add(self, video_id: str, path: AnyPath) -> bool:
        """Adds a video, unless its path is here already: False then.

        Args:
            path: absolute.

        Raises:
            SameIdError: another path has that id.
            PipelineError: the temporary folder is full.
        """
        row = (_as_bytes(video_id), _as_bytes(str(path)) if isinstance(path, RemotePath) else os.fsencode(path))
        remote = self._remotes.setdefault(path.remote, len(self._remotes)) if isinstance(path, RemotePath) else None
        try:
            if self._table.execute("SELECT 1 FROM videos WHERE path = ?", row[1:]).fetchone():
                return False
            self._table.execute("INSERT INTO videos VALUES (?, ?, ?, ?)", (self._count, *row, remote))
        except sqlite3.IntegrityError:
            (other,) = self._table.execute("SELECT path FROM videos WHERE id = ?", row[:1]).fetchone()
            raise SameIdError(f"videos: {os.fsdecode(other)} and {path} would both get the id {video_id!r}") from None
        except sqlite3.OperationalError as error:
            raise PipelineError(
                f"videos: their list cannot be kept in the temporary folder ({error}); free some room there, or "
                "name another with SQLITE_TMPDIR"
            ) from None
        self._count += 1
        return True

    def only(self, is_wanted: Callable[[str], bool]) -> VideoList:
        """Those whose ids are wanted, as a list of their own."""
        wanted = VideoList()
        for video in self:
            if is_wanted(video.id):
                wanted.add(video.id, video.path)
        return wanted

    def beginning_at(self, place: int) -> Iterator[VideoFile]:
        """All videos, from the one at ``place`` to the last, then from the first on."""
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
        words = "SELECT id, path, remote FROM videos WHERE place >= ? AND place < ? ORDER BY place"
        for video_id, path, remote in self._table.execute(words, (first, end)):
            place = Path(os.fsdecode(path)) if remote is None else RemotePath(_as_text(path), remotes[remote])
            yield VideoFile(_as_text(video_id), place)


def _as_bytes(name: str) -> bytes:
    """Names of files need not be text; so they come back as they were."""
    return name.encode("utf-8", "surrogateescape")


def _as_text(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")

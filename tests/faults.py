"""Watches every step by which a process writes its files, so that a test can end or spoil any of them."""

from __future__ import annotations

import errno
import os
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

_TEMPORARY = re.compile(r"\.(.*)\..*-[0-9a-f]+-[0-9]+-[0-9a-f]{32}\.partial")
NOTHING: Callable[[], None] = lambda: None  # noqa: E731


@dataclass(frozen=True)
class Step:
    """What is about to be done.

    Args:
        number: counted from 0.
        name: operation and target, such as "write array" or "fsync folder".
        time: how many of this name came before it. Files are published in several threads: the order of steps of
            different names differs from run to run, their numbers do not.
        tear: of a write: does half of it, down to the file.
    """

    number: int
    name: str
    time: int
    tear: Callable[[], None] = NOTHING


class Watch:
    """Calls ``on_step`` before each step of a write.

    Attributes:
        names: of all steps so far.
        unsynced: files that were published although something was written to them after the last fsync.
    """

    def __init__(self, on_step: Callable[[Step], None]) -> None:
        self.names: list[str] = []
        self.unsynced: list[str] = []
        self._on_step = on_step
        self._path_of: dict[int, str] = {}  # by file descriptor
        self._dirty: set[str] = set()
        self._lock = threading.Lock()

    @contextmanager
    def watching(self) -> Iterator[Watch]:
        """Watches pathlib's ways to open, write, rename and unlink, os.fsync, os.replace and os.link."""
        plain_open, plain_unlink, plain_fsync = Path.open, Path.unlink, os.fsync
        plain_replace, plain_link, plain_rename = os.replace, os.link, Path.rename

        def watched_open(path: Path, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
            if not set(mode) & set("wax+"):
                return plain_open(path, mode, *args, **kwargs)
            self.at("reopen" if "r" in mode else "open", path)
            file = _File(self, path, plain_open(path, mode, *args, **kwargs))
            self._path_of[file.fileno()] = str(path)
            return file

        def watched_unlink(path: Path, *args: Any, **kwargs: Any) -> None:
            self.at("unlink", path)
            plain_unlink(path, *args, **kwargs)

        def watched_fsync(descriptor: int) -> None:
            path = self._path_of.get(descriptor)
            self.at("fsync", Path(path) if path else None)
            plain_fsync(descriptor)
            self._dirty.discard(path or "")

        def watched_replace(source: Path, target: Path) -> None:
            self.at("replace", Path(target))
            if str(source) in self._dirty:
                self.unsynced.append(str(source))
            plain_replace(source, target)

        def watched_link(source: Path, target: Path) -> None:
            self.at("link", Path(target))
            if str(source) in self._dirty:
                self.unsynced.append(str(source))
            plain_link(source, target)

        def watched_rename(path: Path, target: Path) -> Path:
            self.at("rename", Path(target))
            return plain_rename(path, target)

        with (
            patch.object(os, "link", watched_link),
            patch.object(Path, "rename", watched_rename),
            patch.object(Path, "open", watched_open),
            patch.object(Path, "unlink", watched_unlink),
            patch.object(os, "fsync", watched_fsync),
            patch.object(os, "replace", watched_replace),
        ):
            yield self

    def at(self, operation: str, path: Path | None, tear: Callable[[], None] = NOTHING) -> None:
        name = f"{operation} {_kind(path)}"
        with self._lock:
            step = Step(len(self.names), name, self.names.count(name), tear)
            self.names.append(name)
        self._on_step(step)

    def wrote(self, path: Path) -> None:
        self._dirty.add(str(path))

    def closed(self, descriptor: int) -> None:
        self._path_of.pop(descriptor, None)


class _File:
    """A file open for writing whose steps are watched."""

    def __init__(self, watch: Watch, path: Path, file: Any) -> None:
        self._watch, self._path, self._file = watch, path, file

    def write(self, data: Any) -> int:
        def tear() -> None:
            self._file.write(data[: len(data) // 2])
            self._file.flush()

        self._watch.at("write", self._path, tear)
        self._watch.wrote(self._path)
        return self._file.write(data)

    def seek(self, *args: int) -> int:
        self._watch.at("seek", self._path)
        return self._file.seek(*args)

    def close(self) -> None:
        if self._file.closed:
            return
        try:
            self._watch.at("close", self._path)
        finally:  # a file whose closing fails is closed nevertheless
            self._watch.closed(self._file.fileno())
            self._file.close()

    def __enter__(self) -> _File:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def _kind(path: Path | None) -> str:
    """What a file is: array, sidecar, failure, spec or log of a store, a shard, else its name; "folder" for None."""
    if path is None:
        return "folder"
    if path.parent.name == "features":
        return "array" if ".npy" in path.name else "sidecar"
    if kind := {"failures": "failure", "logs": "log", "shards": "shard"}.get(path.parent.name):
        return kind
    name = _TEMPORARY.sub(r"\1", path.name)
    return "spec" if name == "store.json" else name


def disk_full_from(name: str, time: int = 0) -> Callable[[Step], None]:
    """From a step on, given by its name and how many of the name come before it, nothing more can be written."""
    full = threading.Event()

    def on_step(step: Step) -> None:
        writes = step.name.split()[0] in ("open", "write", "seek", "close")
        if (step.name, step.time) == (name, time) or (full.is_set() and writes):
            full.set()
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    return on_step


def input_output_error_at(name: str, time: int = 0) -> Callable[[Step], None]:
    """One step fails, given by its name and how many of the name come before it."""

    def on_step(step: Step) -> None:
        if (step.name, step.time) == (name, time):
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    return on_step

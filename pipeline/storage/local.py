"""Local copies of objects: a bounded cache of whole files, and a place for unfinished files.

The environment sets the place and the size: SOLA_CACHE_FOLDER (by default sola-pipeline in the user's cache) and
SOLA_CACHE_GIGABYTES (20). On the command line these are --cache-folder and --cache-gigabytes.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

from pipeline.errors import PipelineError
from pipeline.storage.location import AnyPath, RemotePath
from pipeline.storage.temporary_names import partial_name, remove_abandoned, remove_abandoned_once

FOLDER_VARIABLE = "SOLA_CACHE_FOLDER"
GIGABYTES_VARIABLE = "SOLA_CACHE_GIGABYTES"
_DEFAULT_GIGABYTES = "20"


def cache_folder() -> Path:
    """Return the folder of all local copies."""
    if named := os.environ.get(FOLDER_VARIABLE):
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sola-pipeline"


def cache_bytes() -> int:
    """Return the most bytes that the cache of features may hold; the same limit holds for videos that are being read.

    Raises:
        PipelineError: the variable is no number > 0.
    """
    text = os.environ.get(GIGABYTES_VARIABLE, _DEFAULT_GIGABYTES)
    try:
        number = float(text)
    except ValueError:
        number = 0
    if not 0 < number < float("inf"):
        raise PipelineError(f"cache_gigabytes ({GIGABYTES_VARIABLE}) must be a number > 0, got {text!r}")
    return int(number * 1e9)


def work_folder(path: AnyPath) -> Path:
    """Make and return the local folder for the growing files of a remote folder: logs, checkpoints.

    Equal URLs have the same folder, so that the next run on this machine finds a checkpoint again.
    """
    folder = cache_folder() / "work" / sha256(str(path).encode()).hexdigest()[:20]
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def new_partial(name: str) -> Path:
    """Return a temporary path that no other process uses; remove what killed processes left beside it."""
    folder = cache_folder() / "partial"
    folder.mkdir(parents=True, exist_ok=True)
    remove_abandoned_once(folder)
    return folder / partial_name(name)


def remove_leftovers() -> None:
    """Remove the temporary files and folders of processes that have ended."""
    remove_abandoned(cache_folder() / "partial")


@contextmanager
def temporary_copy(path: AnyPath) -> Iterator[Path]:
    """Yield the file itself if it is local; else fetch a copy, and remove it at the end."""
    if not isinstance(path, RemotePath):
        yield path
        return
    copy = new_partial(path.name)
    try:
        path.download(copy)
        yield copy
    finally:
        copy.unlink(missing_ok=True)


def cached(path: AnyPath, *, check: Callable[[Path], None] | None = None) -> Path:
    """Return the file itself if it is local; else a copy in the cache, fetched if necessary.

    URL, version and size identify a copy, so a replaced object is fetched again. The least recently used copies make
    room. A copy that is removed while it is mapped into memory can still be read.

    Args:
        check: called with a new copy before it enters the cache; raises if the copy is wrong.
    """
    if not isinstance(path, RemotePath):
        return path
    if not path.stat().etag:
        path.refresh()
    entry = path.stat()
    key = sha256(f"{path.url}\n{entry.etag}\n{entry.st_size}".encode()).hexdigest()[:40]
    copy = cache_folder() / "files" / f"{key}{path.suffix}"
    try:
        os.utime(copy)  # the time of the last use
        return copy
    except FileNotFoundError:
        pass
    copy.parent.mkdir(parents=True, exist_ok=True)
    _make_room(copy.parent, entry.st_size)
    partial = new_partial(path.name)
    try:
        path.download(partial)
        if check is not None:
            check(partial)
        os.replace(partial, copy)
    finally:
        partial.unlink(missing_ok=True)
    return copy


def _make_room(folder: Path, wanted: int) -> None:
    """Remove copies, the least recently used first, until `wanted` more bytes are within the limit."""
    files = []
    for entry in os.scandir(folder):
        try:
            stat = entry.stat()
        except FileNotFoundError:  # another process has just removed it
            continue
        files.append((stat.st_mtime_ns, stat.st_size, entry.path))
    excess = sum(size for _, size, _ in files) + wanted - cache_bytes()
    for _, size, name in sorted(files):
        if excess <= 0:
            return
        Path(name).unlink(missing_ok=True)
        excess -= size

"""Local copies of what lies in object storage: a bounded cache of whole files, and room for files being made.

The environment says where and how much: SOLA_CACHE_FOLDER (by default sola-pipeline in the user's cache) and
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
    """The folder of all local copies."""
    if named := os.environ.get(FOLDER_VARIABLE):
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sola-pipeline"


def cache_bytes() -> int:
    """The most bytes that the cache of features may hold, and likewise the videos that are being read.

    Raises:
        PipelineError: the variable holds no number > 0.
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
    """The folder for files that a remote folder cannot hold while they grow: logs, checkpoints; it is made.

    Equal for equal URLs, so that the next run on this machine finds a checkpoint again.
    """
    folder = cache_folder() / "work" / sha256(str(path).encode()).hexdigest()[:20]
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def new_partial(name: str) -> Path:
    """A temporary file, or folder, that no other process uses; what killed processes left beside it is removed."""
    folder = cache_folder() / "partial"
    folder.mkdir(parents=True, exist_ok=True)
    remove_abandoned_once(folder)
    return folder / partial_name(name)


def remove_leftovers() -> None:
    """Removes the temporary files and folders of processes that are gone."""
    remove_abandoned(cache_folder() / "partial")


@contextmanager
def temporary_copy(path: AnyPath) -> Iterator[Path]:
    """The file itself where it is local; else a copy, fetched now and removed at the end."""
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
    """The file itself where it is local; else a copy in the cache, fetched if it is not there.

    Copies are known by URL, version and size: an object that was replaced is fetched anew. The copies that were not
    used for the longest time make room. One that is removed while it is mapped into memory can be read to the end.

    Args:
        check: called with a fetched copy before it is believed; raises what is wrong with it.
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
    """Removes copies, the longest unused first, until ``wanted`` more bytes are within the limit."""
    files = []
    for entry in os.scandir(folder):
        try:
            stat = entry.stat()
        except FileNotFoundError:  # removed by another process at this moment
            continue
        files.append((stat.st_mtime_ns, stat.st_size, entry.path))
    excess = sum(size for _, size, _ in files) + wanted - cache_bytes()
    for _, size, name in sorted(files):
        if excess <= 0:
            return
        Path(name).unlink(missing_ok=True)
        excess -= size

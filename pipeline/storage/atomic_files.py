"""Write files that are either whole or absent."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipeline.storage.local import new_partial
from pipeline.storage.location import AnyPath, RemotePath
from pipeline.storage.temporary_names import partial_name, remove_abandoned_once

_READ_ONLY = (errno.EROFS, errno.EACCES, errno.EPERM)
_NO_HARD_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK)


@contextmanager
def whole_file(path: AnyPath) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it to `path` when the block succeeds.

    The content is flushed to the disk before the rename, so that after a crash the file is the old one, the new one or
    absent, never a torn one. If the block fails, nothing is left. For a remote `path` the file is local, and is
    uploaded when it is whole.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = partial_path(path)
    try:
        yield partial
        publish(partial, path)
    finally:
        remove(partial)


@contextmanager
def unless_read_only() -> Iterator[None]:
    """Pass over a disk that takes no files, for what is of use but not needed."""
    try:
        yield
    except OSError as error:
        if error.errno not in _READ_ONLY:
            raise


def remove(path: Path) -> None:
    """Remove a file if it is there; on a read-only disk `unlink` fails also where there is none."""
    if os.path.lexists(path):
        path.unlink(missing_ok=True)


def partial_path(path: AnyPath) -> Path:
    """Return the path of a temporary file that no other process on any host uses, and whose name tells its owner.

    It lies in the folder of `path`, or in the local cache if that folder is remote. Leftovers of killed processes in
    its folder are removed.
    """
    if isinstance(path, RemotePath):
        return new_partial(path.name)
    remove_abandoned_once(path.parent)
    return path.with_name(partial_name(path.name))


@contextmanager
def temporary_folder(beside: Path) -> Iterator[Path]:
    """Yield a new folder beside the path; remove it at the end. If this process is killed, the next one removes it."""
    folder = partial_path(beside)
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def publish(partial: Path, path: AnyPath) -> None:
    """Flush `partial` to the disk and rename it to `path`, replacing an older file; or upload it."""
    if isinstance(path, RemotePath):
        path.upload(partial)
        partial.unlink()
        return
    _fsync_file(partial)
    os.replace(partial, path)
    _fsync_folder(path.parent)


def publish_new(partial: Path, path: AnyPath) -> bool:
    """Publish `partial` as `publish` does, unless `path` exists; return whether it was published.

    If several processes do this at the same time, one succeeds. Without hard links in the file system, or conditional
    uploads in the object storage, the last one may win: read back what was published.
    """
    if isinstance(path, RemotePath):
        return path.upload_new(partial)
    _fsync_file(partial)
    try:
        os.link(partial, path)  # a rename would replace an existing file
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in _NO_HARD_LINKS:
            raise
        if path.exists():
            return False
        os.replace(partial, path)
    _fsync_folder(path.parent)
    return True


def write_text(path: AnyPath, text: str) -> None:
    """Write `text` to `path` in one step; a read-only disk that has it already is fine."""
    # File names need not be UTF-8; other bytes are written as JSON writes them, \udcff.
    content = text.encode("utf-8", errors="backslashreplace")
    try:
        with whole_file(path) as partial:
            partial.write_bytes(content)
    except OSError as error:
        if error.errno not in _READ_ONLY or not path.is_file() or path.read_bytes() != content:
            raise


def write_json(path: AnyPath, value: Any) -> None:
    """Write `value` as indented JSON to `path` in one step; refuse NaN, which JSON does not have."""
    write_text(path, _as_text(value))


def write_new_json(path: AnyPath, value: Any) -> None:
    """Write `value` as `write_json` does, unless the file exists."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = partial_path(path)
    try:
        partial.write_text(_as_text(value), encoding="utf-8", errors="backslashreplace")
        publish_new(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def _as_text(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _fsync_file(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def _fsync_folder(folder: Path) -> None:
    if os.name == "nt":  # Windows cannot open a folder; its rename is already durable enough here
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

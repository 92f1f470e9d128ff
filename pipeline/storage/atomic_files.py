"""Files that are either whole or absent, and names that stay inside their folder."""

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

_NO_HARD_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK)


@contextmanager
def whole_file(path: AnyPath) -> Iterator[Path]:
    """Gives a temporary path beside ``path``; when the block ends well it becomes ``path`` in one step.

    The content is flushed to the disk before the rename, so that after a crash the file is the old one, the new
    one or absent, never a torn one. When the block fails nothing is left. Of a remote path the same holds: it is
    uploaded when it is whole.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = partial_path(path)
    try:
        yield partial
        publish(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def partial_path(path: AnyPath) -> Path:
    """A temporary file that no other process on any host uses, and that tells its owner: in the folder of ``path``, or
    in the local cache where that folder is remote. What killed processes have left in that folder is removed."""
    if isinstance(path, RemotePath):
        return new_partial(path.name)
    remove_abandoned_once(path.parent)
    return path.with_name(partial_name(path.name))


@contextmanager
def temporary_folder(beside: Path) -> Iterator[Path]:
    """Gives a new folder beside the path, which is removed at the end; by the next process, if this one is killed."""
    folder = partial_path(beside)
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def publish(partial: Path, path: AnyPath) -> None:
    """Flushes ``partial`` to the disk and renames it to ``path``, replacing what was there; or uploads it there."""
    if isinstance(path, RemotePath):
        path.upload(partial)
        partial.unlink()
        return
    _fsync_file(partial)
    os.replace(partial, path)
    _fsync_folder(path.parent)


def publish_new(partial: Path, path: AnyPath) -> bool:
    """As :func:`publish`, but never in the place of a file that is there already; whether it was published.

    Of several processes that do this at the same time one succeeds. Where a file system has no hard links, or an object
    storage no conditional upload, the last one may win: read back what was published.
    """
    if isinstance(path, RemotePath):
        return path.upload_new(partial)
    _fsync_file(partial)
    try:
        os.link(partial, path)  # a rename would replace what is there
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


def write_text(path: AnyPath, text: str) -> None:
    """Writes ``text`` to ``path`` in one step."""
    with whole_file(path) as partial:
        # Names of files need not be UTF-8; what is not comes out as JSON writes it, \udcff.
        partial.write_text(text, encoding="utf-8", errors="backslashreplace")


def write_json(path: AnyPath, value: Any) -> None:
    """Writes ``value`` as indented JSON to ``path`` in one step; NaN is refused, since JSON has none."""
    write_text(path, _as_text(value))


def _as_text(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def write_new_json(path: AnyPath, value: Any) -> None:
    """Writes ``value`` as :func:`write_json` does, unless there is such a file: then that one stays."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = partial_path(path)
    try:
        partial.write_text(_as_text(value), encoding="utf-8", errors="backslashreplace")
        publish_new(partial, path)
    finally:
        partial.unlink(missing_ok=True)

"""Whether a file is still the one that it was."""

from __future__ import annotations

from typing import Any

from pipeline.storage.location import AnyPath, RemotePath
from pipeline.storage.read_files import sha256_of_file

Stamp = tuple[int, int | str]  # size, and time of the last change or version


def has_changed(path: AnyPath, source: Any) -> bool | None:
    """Whether the file is another one now than ``source`` describes; None where it cannot be read.

    It is read only if its size is the same and its time, or the version of a remote one, is not.
    """
    if not isinstance(source, dict):
        return True
    try:
        stamp = stamp_of(path)
        if stamp is None:
            return None
        if stamp[0] != source.get("bytes"):
            return True
        version = source.get("etag" if isinstance(path, RemotePath) else "modified_ns")
        return stamp[1] != version and sha256_of_file(path) != source.get("sha256")
    except OSError:
        return None


def stamp_of(path: AnyPath, *, now: bool = False) -> Stamp | None:
    """Size and time of the last change, or version; None where they cannot be had.

    Args:
        now: of a remote file as it is now, not as it was listed.
    """
    try:
        if isinstance(path, RemotePath):
            if now:
                path.refresh()
            entry = path.stat()
            return entry.st_size, entry.etag
        stat = path.stat()
    except OSError:
        return None
    return stat.st_size, stat.st_mtime_ns


def size_of(path: AnyPath) -> int:
    """Bytes of a file; 0 where they cannot be had."""
    stamp = stamp_of(path)
    return stamp[0] if stamp else 0

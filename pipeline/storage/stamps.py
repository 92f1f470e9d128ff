"""Tell whether a file, or a folder of pictures, has changed: by size, time and hash."""

from __future__ import annotations

from pipeline.storage.location import AnyPath, RemotePath
from pipeline.storage.read_files import files_in, sha256_of_file

Stamp = tuple[int, int | str]  # size, and time of the last change or version


def has_changed(path: AnyPath, source: object) -> bool | None:
    """Whether the file differs from what `source` describes; None if it cannot be read.

    It is read only if its size is the same and its time (for a remote file, its version) is not.

    Args:
        source: the `source` of a sidecar or a failure record: `bytes`, `modified_ns` or `etag`, `sha256`.
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
    """Return size and time of the last change (for a remote file, its version); None if they are unknown.

    Args:
        now: ask for a remote file again, in place of using the listing.
    """
    try:
        if isinstance(path, RemotePath):
            if now:
                path.refresh()
            entry = path.stat()
            return entry.st_size, entry.etag
        stat = path.stat()
        if path.is_dir():
            stats = [file.stat() for file in files_in(path)]
            return sum(s.st_size for s in stats), max(s.st_mtime_ns for s in [stat, *stats])
    except OSError:
        return None
    return stat.st_size, stat.st_mtime_ns


def size_of(path: AnyPath) -> int:
    """Return the bytes of a file; 0 if they are unknown."""
    stamp = stamp_of(path)
    return stamp[0] if stamp else 0

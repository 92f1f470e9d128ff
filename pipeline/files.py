"""Files that are either whole or absent, and names that stay inside their folder."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from pipeline.errors import PipelineError
from pipeline.partial import partial_name, remove_abandoned_once
from pipeline.storage.local import new_partial
from pipeline.storage.location import AnyPath, RemotePath

_BLOCK_BYTES = 1 << 18
_LONGEST_NAME_BYTES = 200  # file systems allow 255; the rest is left to suffixes
_NO_HARD_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK)


@lru_cache(maxsize=1024)  # asked several times for each of very many videos
def file_name_of(identifier: str) -> str:
    """A file name (without suffix) for a video id: reversible, one path component, safe on every system.

    Letters, digits and ``-_.`` stay as they are (so ordinary ids look the same on disk); all else is
    percent-encoded, and so is a leading dot.

    Raises:
        PipelineError: the id is empty or too long for a file name.
    """
    name = quote(identifier, safe="-_. ()[]+,=@", errors="surrogateescape")
    if name.startswith("."):
        name = "%2E" + name[1:]
    if not name or len(name.encode()) > _LONGEST_NAME_BYTES:
        raise PipelineError(
            f"video id must have 1 to {_LONGEST_NAME_BYTES} bytes as a file name, got {len(name.encode())}: "
            f"{identifier[:60]!r}; rename the video"
        )
    return name


def identifier_of(file_name: str) -> str:
    """The video id that :func:`file_name_of` turned into ``file_name`` (given without suffix)."""
    return unquote(file_name, errors="surrogateescape")


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


def read_json(path: AnyPath, *, what: str) -> Any:
    """The JSON value in ``path``; a key that stands twice in an object, such as a video's id, is refused.

    Args:
        what: what the file is, for the message ("annotations", "detections", …).

    Raises:
        PipelineError: the file is absent, unreadable or not JSON, or a key appears twice.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"), object_pairs_hook=_unique)
    except FileNotFoundError:
        raise PipelineError(f"{what}: no file {path}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise PipelineError(f"{what}: cannot read {path}: {error}") from None
    except _DuplicateKeyError as error:
        raise PipelineError(f"{what}: {path} has the key {error} twice in one object; keep one of the two") from None
    except (json.JSONDecodeError, RecursionError) as error:
        raise PipelineError(f"{what}: {path} is not JSON: {error}") from None


class _DuplicateKeyError(Exception):
    """The key that stands twice in an object."""


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The object of ``pairs``. By itself ``json`` lets the last of two equal keys hide the first."""
    value = dict(pairs)
    if len(value) < len(pairs):
        counts = Counter(key for key, _ in pairs)
        raise _DuplicateKeyError(repr(next(key for key, count in counts.items() if count > 1)))
    return value


def sha256_of_file(path: AnyPath) -> str:
    """SHA-256 of a file's bytes, hexadecimal."""
    digest = hashlib.sha256()
    # Into one buffer: blocks that are asked for large and come small fragment the heap, by 96 bytes a file.
    block = memoryview(bytearray(_BLOCK_BYTES))
    with path.open("rb") as file:
        while count := file.readinto(block):
            digest.update(block[:count])
    return digest.hexdigest()

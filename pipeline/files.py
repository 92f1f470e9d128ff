"""Files that are either whole or absent, and names that stay inside their folder."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from pipeline.errors import PipelineError

PARTIAL_SUFFIX = ".partial"
_ABANDONED_AFTER_SECONDS = 7 * 24 * 3600
_LONGEST_NAME_BYTES = 200  # file systems allow 255; the rest is left to suffixes
_SHOWN_IN_PARTIAL = 60  # of a file's name in its temporary one, which also holds a host's name


@lru_cache(maxsize=1024)  # asked several times for each of very many videos
def file_name_of(identifier: str) -> str:
    """A file name (without suffix) for a video id: reversible, one path component, safe on every system.

    Letters, digits and ``-_.`` stay as they are (so ordinary ids look the same on disk); all else is
    percent-encoded, and so is a leading dot.

    Raises:
        PipelineError: the id is empty or too long for a file name.
    """
    name = quote(identifier, safe="-_. ()[]+,=@")
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
    return unquote(file_name)


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Gives a temporary path beside ``path``; when the block ends well it becomes ``path`` in one step.

    The content is flushed to the disk before the rename, so that after a crash the file is the old one, the new
    one or absent, never a torn one. When the block fails nothing is left.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = partial_path(path)
    try:
        yield partial
        publish(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def partial_path(path: Path) -> Path:
    """A temporary name in the folder of ``path`` that no other process on any host uses, and that tells its owner."""
    shown = path.name.encode()[:_SHOWN_IN_PARTIAL].decode(errors="ignore")
    return path.with_name(f".{shown}.{this_process()}-{uuid.uuid4().hex}{PARTIAL_SUFFIX}")


def is_abandoned(partial: Path) -> bool:
    """Whether nobody will finish a temporary file: its process on this host is gone, or it has lain for a week.

    A process on another host, or in another container, cannot be asked whether it lives; hence the week.
    """
    owner, _, rest = partial.name.removesuffix(PARTIAL_SUFFIX).rpartition("-")[0].rpartition("-")
    ended = process_has_ended(f"{_here()}-{rest}") if owner.endswith(f".{_here()}") else None
    if ended is not None:
        return ended
    try:
        return time.time() - partial.stat().st_mtime > _ABANDONED_AFTER_SECONDS
    except OSError:  # published or removed meanwhile
        return False


def this_process() -> str:
    """What no other process on any host is called."""
    return f"{_here()}-{os.getpid()}"


def process_has_ended(process: str) -> bool | None:
    """Whether the process that :func:`this_process` has named is gone; None where it cannot be asked from here."""
    space, _, number = process.rpartition("-")
    if space != _here() or not number.isdecimal() or os.name == "nt":  # there, signal 0 ends a process
        return None
    try:
        os.kill(int(number), 0)
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):  # it lives and belongs to somebody else, or this is no process
        return False
    return False


def _here() -> str:
    """What tells one space of process numbers from another: the host's name, and on Linux the container."""
    try:
        space = os.stat("/proc/self/ns/pid").st_ino  # noqa: PTH116  (the link's target is no path)
    except OSError:
        space = 0
    return f"{socket.gethostname()[:64]}-{space:x}"


def publish(partial: Path, path: Path) -> None:
    """Flushes ``partial`` to the disk and renames it to ``path``, replacing what was there."""
    with partial.open("rb+") as file:
        os.fsync(file.fileno())
    os.replace(partial, path)
    _fsync_folder(path.parent)


def _fsync_folder(folder: Path) -> None:
    if os.name == "nt":  # Windows cannot open a folder; its rename is already durable enough here
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_text(path: Path, text: str) -> None:
    """Writes ``text`` to ``path`` in one step."""
    with whole_file(path) as partial:
        partial.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Writes ``value`` as indented JSON to ``path`` in one step; NaN is refused, since JSON has none."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path, *, what: str) -> Any:
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


def sha256_of_file(path: Path) -> str:
    """SHA-256 of a file's bytes, hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()

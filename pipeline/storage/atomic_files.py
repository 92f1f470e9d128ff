"""Files that are either whole or absent, and names that stay inside their folder."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
import stat
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from encoders.stand_ins import HEAD_BYTES, stand_in
from pipeline.errors import PipelineError
from pipeline.storage.local import new_partial
from pipeline.storage.location import AnyPath, RemotePath
from pipeline.storage.temporary_names import partial_name, remove_abandoned_once

_BLOCK_BYTES = 1 << 18
_LONGEST_NAME_BYTES = 200  # file systems allow 255; the rest is left to suffixes
_NO_HARD_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK)
_SAFE = "-_. ()[]+,=@"
# ASCII and what steers terminals and texts (C1, joiners, directions); surrogates stand for bytes that are not UTF-8.
_CODED = re.compile("[\x00-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff]+")
_MARK = re.compile(r"\{[0-9a-f]{16}\}\Z")
_DEEPEST = 64  # objects and lists inside one another; a file of ours has less than ten
_LONGEST_INTEGER = 400  # digits; every number of ours is a float at most, which ends at 309


@lru_cache(maxsize=1024)  # asked several times for each of very many videos
def file_name_of(identifier: str) -> str:
    """A file name (without suffix) for a video id: one path component, safe on every system.

    Letters, digits and ``-_.`` stay as they are (so ordinary ids look the same on disk); all else is
    percent-encoded, and so is a leading dot. Where that is too long, letters beyond ASCII stay as they are too; where
    that is still too long, the end gives way to a hash, ``…{16 hex digits}``. All but the last can be turned back.

    Raises:
        PipelineError: the id is empty or is no text.
    """
    if not identifier:
        raise PipelineError("video id must not be empty; rename the video")
    try:
        raw = identifier.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise PipelineError(f"video id must be text, got {identifier[:60]!r}; rename the video") from None
    name = _without_leading_dot(quote(raw, safe=_SAFE))
    if len(name) <= _LONGEST_NAME_BYTES:
        return name
    if is_shortened(identifier):
        return identifier
    text = raw.decode("utf-8", "surrogateescape")  # as in an environment of UTF-8
    name = _with_letters(text)
    if len(name.encode()) > _LONGEST_NAME_BYTES:
        mark = "{" + hashlib.sha256(raw).hexdigest()[:16] + "}"
        name = _cut(text, _LONGEST_NAME_BYTES - len(mark)) + mark
    return as_file_name(name)


def identifier_of(file_name: str) -> str:
    """The video id that :func:`file_name_of` turned into ``file_name`` (given without suffix).

    Of a shortened name it is that name; the file itself says the whole id.
    """
    name = as_text(file_name)
    return name if is_shortened(name) else unquote(name, errors="surrogateescape")


def is_shortened(file_name: str) -> bool:
    """Whether a file name (without suffix) is one that :func:`file_name_of` has cut: it does not tell the id."""
    file_name = as_text(file_name)
    start = file_name[: -len("{0123456789abcdef}")]
    size = len(file_name.encode(errors="surrogatepass"))
    long = _LONGEST_NAME_BYTES - len("%F0%9F%98%80") < size <= _LONGEST_NAME_BYTES
    return long and bool(_MARK.search(file_name)) and _with_letters(unquote(start, errors="surrogateescape")) == start


def as_text(name: str) -> str:
    """The name of a file as text where the locale takes its bytes for something else than UTF-8."""
    try:
        return os.fsencode(name).decode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # it is text already
        return name


def as_file_name(text: str) -> str:
    """The way back: what writes the same bytes to the disk, whatever the locale says of names."""
    return os.fsdecode(text.encode("utf-8", "surrogateescape"))


def _with_letters(identifier: str) -> str:
    """The id with only those characters percent-encoded that are no plain text."""
    return _without_leading_dot(_coded(identifier))


def _coded(text: str) -> str:
    return _CODED.sub(lambda found: quote(found[0], safe=_SAFE, errors="surrogateescape"), text)


def _without_leading_dot(name: str) -> str:
    return "%2E" + name[1:] if name.startswith(".") else name


def _cut(identifier: str, most_bytes: int) -> str:
    """The name of as many of the id's first characters as ``most_bytes`` hold."""
    name = ""
    for character in identifier:
        longer = name + _coded(character) if name else _with_letters(character)
        if len(longer.encode()) > most_bytes:
            break
        name = longer
    return name


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
    text = read_text(path, what=what)
    try:
        value = json.loads(text, object_pairs_hook=_unique, parse_int=_integer)
        _refuse_deep(value)
    except _DuplicateKeyError as error:
        raise PipelineError(f"{what}: {path} has the key {error} twice in one object; keep one of the two") from None
    except (ValueError, RecursionError) as error:
        found = stand_in(text[:HEAD_BYTES].encode(errors="replace"))
        raise PipelineError(f"{what}: {path} is {found or f'not JSON: {error}'}") from None
    return value


def read_text(path: AnyPath, *, what: str) -> str:
    """The text of a file, UTF-8 with or without a byte order mark.

    Args:
        what: as in :func:`read_json`.

    Raises:
        PipelineError: the file is absent, no regular file, or cannot be read.
    """
    refuse_special(path, what=what)
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise PipelineError(f"{what}: no file {path}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise PipelineError(f"{what}: cannot read {path}: {error}") from None


def refuse_special(path: AnyPath, *, what: str) -> None:
    """Refuses what is there and no regular file: opening a pipe or a device can wait, or give bytes, for ever.

    Raises:
        PipelineError: it is a folder, a pipe, a device or a socket, or no path at all.
    """
    if isinstance(path, RemotePath):
        return
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return  # opening it says so
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
        raise PipelineError(f"{what}: cannot read {str(path)!r}: {error}") from None
    if not stat.S_ISREG(mode):
        kinds = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}
        found = kinds.get(stat.S_IFMT(mode), "a device")
        raise PipelineError(f"{what}: {path} must be a regular file, it is {found}; give a file")


def _integer(text: str) -> int:
    if len(text) > _LONGEST_INTEGER:
        raise ValueError(f"an integer of {len(text)} digits")
    return int(text)


def _refuse_deep(value: Any) -> None:
    """Raises ValueError for a value so deep that what walks over it would fail."""
    level = [value]
    for _ in range(_DEEPEST):
        inner = (item.values() if isinstance(item, dict) else item for item in level if isinstance(item, (dict, list)))
        level = [child for children in inner for child in children if isinstance(child, (dict, list))]
        if not level:
            return
    raise ValueError(f"lists or objects stand more than {_DEEPEST} deep in one another")


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

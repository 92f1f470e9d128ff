"""Read files that strangers wrote: within limits, and with errors of one line."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from encoders.stand_ins import HEAD_BYTES, stand_in
from pipeline.errors import PipelineError
from pipeline.storage.location import AnyPath, RemotePath

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_BLOCK_BYTES = 1 << 18
_DEEPEST = 64  # objects and lists inside one another; our own files have less than ten
_LONGEST_INTEGER = 400  # digits; our numbers are floats at most, which end at 309


def read_toml(path: Path) -> dict[str, Any]:
    """Return the values of a settings file in TOML.

    Raises:
        PipelineError: there is no such file, or it is not TOML.
    """
    text = read_text(path, what="settings")
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise PipelineError(f"settings: {path} is not TOML that can be read: it is nested too deep") from None
    except ValueError as error:  # from the library, or from Python for integers of very many digits
        raise PipelineError(f"settings: {path} is not TOML: {str(error).partition(';')[0]}") from None


def read_json(path: AnyPath, *, what: str) -> Any:
    """Return the JSON value in `path`; refuse a key, such as a video's id, that appears twice in an object.

    Args:
        what: what the file is, for messages ("annotations", "detections", …).

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
    """Return the text of a file, UTF-8 with or without a byte order mark.

    Args:
        what: as in `read_json`.

    Raises:
        PipelineError: the file is absent, no regular file, or cannot be read.
    """
    refuse_special(path, what=what)
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise PipelineError(f"{what}: no file {path}") from None
    except UnicodeDecodeError as error:
        raise PipelineError(f"{what}: cannot read {path}: {error}; save it as UTF-8") from None
    except OSError as error:
        raise PipelineError(f"{what}: cannot read {path}: {error}") from None


def refuse_special(path: AnyPath, *, what: str) -> None:
    """Refuse a path that exists and is no regular file: a pipe or a device can block, or give bytes, for ever.

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


def files_in(folder: Path) -> list[Path]:
    """Return the regular files directly in a folder, sorted, without hidden ones."""
    return sorted(path for path in folder.iterdir() if not path.name.startswith(".") and path.is_file())


def sha256_of_file(path: AnyPath) -> str:
    """Return the SHA-256 of a file's bytes, hexadecimal; for a folder, of the names and hashes of the files in it.

    Raises:
        OSError: it cannot be read, or is a pipe or a device, which may have no end.
    """
    digest = hashlib.sha256()
    if isinstance(path, Path) and path.is_dir():
        for inner in files_in(path):
            digest.update(f"{sha256_of_file(inner)}  ".encode() + os.fsencode(inner.name) + b"\n")
        return digest.hexdigest()
    if isinstance(path, Path) and not stat.S_ISREG(path.stat().st_mode):
        raise OSError(f"not a regular file: {path}")
    # One buffer for all blocks: large allocations that are cut to small ones fragment the heap, by 96 bytes a file.
    block = memoryview(bytearray(_BLOCK_BYTES))
    with path.open("rb") as file:
        while count := file.readinto(block):
            digest.update(block[:count])
    return digest.hexdigest()


class _DuplicateKeyError(Exception):
    """Names the key that appears twice in an object."""


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the object of `pairs`. By default `json` lets the last of two equal keys hide the first."""
    value = dict(pairs)
    if len(value) < len(pairs):
        counts = Counter(key for key, _ in pairs)
        raise _DuplicateKeyError(repr(next(key for key, count in counts.items() if count > 1)))
    return value


def _integer(text: str) -> int:
    if len(text) > _LONGEST_INTEGER:
        raise ValueError(f"an integer of {len(text)} digits")
    return int(text)


def _refuse_deep(value: Any) -> None:
    """Raise ValueError for a value that is nested too deep for code that walks over it."""
    level = [value]
    for _ in range(_DEEPEST):
        inner = (item.values() if isinstance(item, dict) else item for item in level if isinstance(item, (dict, list)))
        level = [child for children in inner for child in children if isinstance(child, (dict, list))]
        if not level:
            return
    raise ValueError(f"lists or objects stand more than {_DEEPEST} deep in one another")

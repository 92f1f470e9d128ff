"""The index of a packed store: where each file lies in the shards, and which file names are allowed."""

from __future__ import annotations

import re
from io import BufferedIOBase
from pathlib import Path
from typing import Any, cast

from pipeline.errors import PipelineError
from pipeline.storage.file_names import as_file_name, as_text, file_name_of, identifier_of
from pipeline.storage.location import AnyPath, RemotePath
from pipeline.storage.read_files import read_json, refuse_special

INDEX = "index.json"
SCHEMA = 1
FOLDERS = ("features", "failures", "logs")
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,199}")

_MOST, _MOST_SHARDS = 1 << 50, 999_999  # bytes; the names of shards have six digits

# Number of the shard, offset of the file's bytes in it, number of bytes, SHA-256.
Place = tuple[int, int, int, str]


def places(packed: AnyPath) -> dict[str, Place]:
    """Return where each file of a packed store lies."""
    if not (packed / INDEX).exists():
        raise PipelineError(f"{packed} is not a packed store: it has no {INDEX} (make one with `store pack`)")
    value = read_json(packed / INDEX, what="index of a packed store")
    if not isinstance(value, dict) or value.get("schema") != SCHEMA or not isinstance(value.get("files"), dict):
        raise PipelineError(f"{packed / INDEX} is not the index of a packed store of schema {SCHEMA}")
    return _checked(value["files"], packed / INDEX)


def part_places(out: AnyPath, number: int) -> dict[str, Place] | None:
    """Return what is in a shard, if it was finished before the index."""
    file = part_path(out, number)
    if not file.exists():
        return None
    value = read_json(file, what="index of a shard")
    if not isinstance(value, dict):
        raise PipelineError(f"{file} is not the index of a shard")
    return _checked(value, file)


def _checked(files: dict[str, Any], where: AnyPath) -> dict[str, Place]:
    places = {}
    for name, place in files.items():
        kinds = [type(value) for value in place] if isinstance(place, list) else []
        if kinds != [int, int, int, str] or min(place[:3]) < 0 or max(place[:3]) >= _MOST or place[0] > _MOST_SHARDS:
            raise PipelineError(f"{where}: {name!r} must have [shard, offset, bytes, SHA-256], got {place!r:.100}")
        places[name] = cast(Place, tuple(place))
    return places


def is_store_file(name: str) -> bool:
    """Whether a store can have a file of this name; no other file is written, so none leaves the folder."""
    folder, _, file = name.rpartition("/")
    if folder in ("features", "failures"):
        stem, _, suffix = file.rpartition(".")
        try:
            known = suffix == "json" or (suffix == "npy" and folder == "features")
            return known and as_text(file_name_of(identifier_of(stem))) == as_text(stem)
        except PipelineError:
            return False
    return folder in ("", "logs") and _PLAIN_NAME.fullmatch(file) is not None


def join_name(folder: AnyPath, name: str) -> AnyPath:
    if not isinstance(folder, RemotePath):
        return folder / as_file_name(name)
    for part in name.split("/"):
        folder = folder / part
    return folder


def shard_path(folder: AnyPath, number: int) -> AnyPath:
    return folder / "shards" / f"{number:06}.tar"


def part_path(folder: AnyPath, number: int) -> AnyPath:
    """Return the file that lists what is in a shard, until the index is written."""
    return folder / "shards" / f"{number:06}.json"


def open_bytes(path: AnyPath) -> BufferedIOBase:
    if isinstance(path, RemotePath):
        return path.open("rb")
    refuse_special(path, what="packed store")
    return Path(path).open("rb")

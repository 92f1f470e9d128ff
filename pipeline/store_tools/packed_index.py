"""The index of a packed store: where each of its files lies in the shards, and what their names may be."""

from __future__ import annotations

import re
from io import BufferedIOBase
from pathlib import Path
from typing import Any, cast

from pipeline.errors import PipelineError
from pipeline.files import file_name_of, identifier_of, read_json
from pipeline.storage.location import AnyPath, RemotePath

INDEX = "index.json"
SCHEMA = 1
FOLDERS = ("features", "failures", "logs")
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")

# Of a file: the shard's number, the offset of its bytes in the shard, their number, their SHA-256.
Place = tuple[int, int, int, str]


def places(packed: AnyPath) -> dict[str, Place]:
    """Where each file of a packed store lies."""
    if not (packed / INDEX).is_file():
        raise PipelineError(f"{packed} is not a packed store: it has no {INDEX} (make one with `store pack`)")
    value = read_json(packed / INDEX, what="index of a packed store")
    if not isinstance(value, dict) or value.get("schema") != SCHEMA or not isinstance(value.get("files"), dict):
        raise PipelineError(f"{packed / INDEX} is not the index of a packed store of schema {SCHEMA}")
    return _checked(value["files"], packed / INDEX)


def part_places(out: AnyPath, number: int) -> dict[str, Place] | None:
    """What is in a shard that was finished before the index was."""
    file = part_path(out, number)
    return _checked(read_json(file, what="index of a shard"), file) if file.is_file() else None


def _checked(files: dict[str, Any], where: AnyPath) -> dict[str, Place]:
    places = {}
    for name, place in files.items():
        kinds = [type(value) for value in place] if isinstance(place, list) else []
        if kinds != [int, int, int, str] or min(place[:3]) < 0:
            raise PipelineError(f"{where}: {name!r} must have [shard, offset, bytes, SHA-256], got {place!r}")
        places[name] = cast(Place, tuple(place))
    return places


def is_store_file(name: str) -> bool:
    """Whether a store can have a file of this name: nothing else is ever written, so nothing leaves the folder."""
    folder, _, file = name.rpartition("/")
    if folder in ("features", "failures"):
        stem, _, suffix = file.rpartition(".")
        try:
            known = suffix == "json" or (suffix == "npy" and folder == "features")
            return known and file_name_of(identifier_of(stem)) == stem
        except PipelineError:
            return False
    return folder in ("", "logs") and _PLAIN_NAME.fullmatch(file) is not None


def join_name(folder: AnyPath, name: str) -> AnyPath:
    for part in name.split("/"):
        folder = folder / part
    return folder


def shard_path(folder: AnyPath, number: int) -> AnyPath:
    return folder / "shards" / f"{number:06}.tar"


def part_path(folder: AnyPath, number: int) -> AnyPath:
    """What says what is in a shard, until the index does."""
    return folder / "shards" / f"{number:06}.json"


def open_bytes(path: AnyPath) -> BufferedIOBase:
    return path.open("rb") if isinstance(path, RemotePath) else Path(path).open("rb")

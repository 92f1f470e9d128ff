"""Pack a store's many small files into a few large ones, for file systems that are slow with small files.

    OUT/store.json          as in the store
    OUT/shards/000000.tar   plain tar, not compressed: `tar -xf` of all shards into one folder also gives the store,
                            and the bytes of a row are those in its .npy file
    OUT/index.json          {"files": {path in the store: [shard, offset, bytes, SHA-256]}, …}, written last

A shard is whole or absent. After an interruption the next run keeps the finished shards whose files have not changed;
until the index is written, shards/000000.json lists what is in a shard.
"""

from __future__ import annotations

import hashlib
import json
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

from pipeline.errors import PipelineError
from pipeline.progress import Report, silent
from pipeline.storage.atomic_files import whole_file, write_json, write_text
from pipeline.storage.location import AnyPath
from pipeline.storage.temporary_names import remove_abandoned
from pipeline.store.feature_store import FeatureStore
from pipeline.store.tools.packed_index import (
    FOLDERS,
    INDEX,
    SCHEMA,
    Place,
    is_store_file,
    join_name,
    open_bytes,
    part_path,
    part_places,
    places,
    shard_path,
)
from pipeline.text.plain import counted

_TAR_BLOCK = 512


@dataclass(frozen=True)
class PackSummary:
    """Number of files and bytes, of shards made now, and of shards that an earlier run made."""

    files: int
    bytes: int
    made: int
    kept: int

    def text(self) -> str:
        """Return one line of counts."""
        files, shards = counted(self.files, "file"), counted(self.made + self.kept, "shard")
        return f"{files}, {self.bytes / 1e9:.3f} GB in {shards} ({self.kept} were there)"


def pack(store: FeatureStore, out: AnyPath, *, megabytes: float = 512, report: Report = silent) -> PackSummary:
    """Pack all files of a store into shards below `out`, each array next to its sidecar.

    Args:
        megabytes: size at which a shard is full; a larger array gets its own shard.
        report: gets the share of the bytes done, 0 to 1.

    Raises:
        PipelineError: files of the store do not fit each other, an array is not what its sidecar says, or `out` holds
            something else.
    """
    if not megabytes > 0:
        raise PipelineError(f"megabytes must be > 0, got {megabytes}")
    if str(out.resolve()) == str(store.path.resolve()):
        raise PipelineError(f"out must be another folder than the store itself, got {out}")
    shown = {path.name for path in out.iterdir() if _visible(path)} if out.is_dir() else set()
    if foreign := shown - {"store.json", "shards", INDEX}:
        raise PipelineError(f"{out} holds other files ({sorted(foreign)[0]}); choose another --out")
    for folder in (out, out / "shards"):
        if isinstance(folder, Path):
            remove_abandoned(folder)
    groups = _groups(store)
    total = sum(size for group in groups for size in group.values())
    plan = _plan(groups, megabytes * 1e6)
    known = places(out) if (out / INDEX).is_file() else None
    packed: dict[str, Place] = {}
    kept = done = 0
    for number, sizes in enumerate(plan):
        found = known if known is not None else part_places(out, number)
        here = {name: place for name, place in (found or {}).items() if place[0] == number}
        if _still_holds(here, sizes, store, shard_path(out, number)):
            kept += 1
        else:
            if (out / INDEX).is_file():  # the index would now be wrong
                _split_index(out, known or {})
            here = _write_shard(store, sizes, out, number)
        packed |= here
        done += sum(sizes.values())
        report(done / max(1, total), f"{number + 1}/{len(plan)} shards")
    if packed != known:
        with whole_file(out / "store.json") as partial:
            partial.write_bytes((store.path / "store.json").read_bytes())
        head = {"schema": SCHEMA, "format": "packed feature store", "shards": len(plan)}
        write_text(out / INDEX, json.dumps({**head, "files": packed}, ensure_ascii=False))
    for name in [path.name for path in (out / "shards").iterdir()]:  # the index replaces these
        if name.endswith(".json") or name >= f"{len(plan):06}":
            (out / "shards" / name).unlink()
    return PackSummary(len(packed), total, len(plan) - kept, kept)


def _split_index(out: AnyPath, known: dict[str, Place]) -> None:
    """Replace the common index by one for each shard, so that an interrupted run loses no shard."""
    for number in sorted({place[0] for place in known.values()}):
        write_json(part_path(out, number), {name: place for name, place in known.items() if place[0] == number})
    (out / INDEX).unlink()


def _groups(store: FeatureStore) -> list[dict[str, int]]:
    """Return the store's files by name, with their sizes; those of a video together, the array first."""
    features = {path.name: path.stat().st_size for path in (store.path / "features").iterdir() if _visible(path)}
    groups = []
    for video_id in store.ids():
        store.require_sidecar(video_id)
        pair = (store.array_path(video_id).name, store.sidecar_path(video_id).name)
        groups.append({f"features/{name}": features.pop(name) for name in pair})
    if features:
        raise PipelineError(f"{store.path / 'features'} has files without a sidecar ({next(iter(features))}): `verify`")
    for folder in FOLDERS[1:]:
        if (store.path / folder).is_dir():
            paths = sorted(path.name for path in (store.path / folder).iterdir() if _visible(path))
            groups += [{f"{folder}/{name}": (store.path / folder / name).stat().st_size} for name in paths]
    for path in sorted(path for path in store.path.iterdir() if _visible(path)):
        if path.is_dir() and path.name not in (*FOLDERS, "parts"):
            raise PipelineError(f"{path} is no folder of a store; move it elsewhere first")
        if path.is_file():  # `parts`, ranges of unfinished videos, are not packed
            groups.append({path.name: path.stat().st_size})
    for name in (name for group in groups for name in group):
        if not is_store_file(name):
            raise PipelineError(f"{store.path / name} is no file of a store; move it elsewhere first")
    return groups


def _visible(path: AnyPath) -> bool:
    return not path.name.startswith(".")


def _plan(groups: list[dict[str, int]], limit: float) -> list[dict[str, int]]:
    """Return the files of each shard."""
    plan: list[dict[str, int]] = []
    for group in groups:
        if not plan or sum(plan[-1].values()) + sum(group.values()) > limit:
            plan.append({})
        plan[-1] |= group
    return plan


def _still_holds(here: dict[str, Place], sizes: dict[str, int], store: FeatureStore, shard: AnyPath) -> bool:
    """Whether an existing shard holds these files as they are now; the sidecar stands for its array."""
    if list(here) != list(sizes) or any(here[name][2] != size for name, size in sizes.items()):
        return False
    last = max(here.values(), key=lambda place: place[1])
    if not shard.is_file() or shard.stat().st_size < last[1] + last[2]:
        return False
    return all(
        here[name][3] == hashlib.sha256(join_name(store.path, name).read_bytes()).hexdigest()
        for name in sizes
        if not name.endswith(".npy")
    )


def _write_shard(store: FeatureStore, sizes: dict[str, int], out: AnyPath, number: int) -> dict[str, Place]:
    here: dict[str, Place] = {}
    (out / "shards").mkdir(parents=True, exist_ok=True)
    part_path(out, number).unlink(missing_ok=True)  # it describes another shard
    with (
        whole_file(shard_path(out, number)) as partial,
        partial.open("wb") as file,
        tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as tar,
    ):
        for name, size in sizes.items():
            info = tarfile.TarInfo(name)  # no times or owners, so that equal stores give equal shards
            info.size = size
            with open_bytes(join_name(store.path, name)) as source:
                reader = _Hashing(source, skip=_header_bytes(store, name, size))
                tar.addfile(info, cast(IO[bytes], reader))
            _check_array(store, name, reader.rest.hexdigest())
            offset = file.tell() - -(-size // _TAR_BLOCK) * _TAR_BLOCK
            here[name] = (number, offset, size, reader.all.hexdigest())
    write_json(part_path(out, number), here)
    return here


class _Hashing:
    """A file that is hashed while it is read: the whole, and what follows the first `skip` bytes."""

    def __init__(self, file: Any, *, skip: int) -> None:
        self._file, self._skip = file, skip
        self.all, self.rest = hashlib.sha256(), hashlib.sha256()

    def read(self, count: int) -> bytes:
        data: bytes = self._file.read(count)
        self.all.update(data)
        self.rest.update(data[self._skip :])
        self._skip = max(0, self._skip - len(data))
        return data


def _header_bytes(store: FeatureStore, name: str, size: int) -> int:
    """Return the number of bytes before row 0 of an array."""
    if not name.endswith(".npy"):
        return 0
    rows, channels = store.require_sidecar(_id_of(store, name))["shape"]
    return size - int(rows) * int(channels) * {"float32": 4, "float16": 2}[store.spec.dtype]


def _check_array(store: FeatureStore, name: str, sha256: str) -> None:
    if name.endswith(".npy") and store.require_sidecar(_id_of(store, name))["sha256"] != sha256:
        raise PipelineError(
            f"{store.path / name} is not the array that its sidecar describes; `verify --deep --repair`"
        )


def _id_of(store: FeatureStore, name: str) -> str:
    return store.id_of(name.rpartition("/")[2].rpartition(".")[0])

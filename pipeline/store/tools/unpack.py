"""Unpack a packed store, byte for byte; check every file, and write none outside the folder."""

from __future__ import annotations

import hashlib
from io import BufferedIOBase

from pipeline.errors import PipelineError
from pipeline.progress import Report, silent
from pipeline.storage.atomic_files import whole_file
from pipeline.storage.location import AnyPath, RemotePath
from pipeline.storage.read_files import sha256_of_file
from pipeline.storage.temporary_names import remove_abandoned
from pipeline.store.tools.packed_index import (
    FOLDERS,
    INDEX,
    Place,
    is_store_file,
    join_name,
    open_bytes,
    places,
    shard_path,
)

_BLOCK = 1 << 20


def unpack(packed: AnyPath, out: AnyPath, *, report: Report = silent) -> int:
    """Write the files of a packed store below `out`, each checked; return how many were new.

    Args:
        report: gets the share of the bytes done, 0 to 1.

    Raises:
        PipelineError: `packed` is no packed store, is damaged or names files that are no store's; or `out` holds other
            files.
    """
    files = places(packed)
    for name in files:
        if not is_store_file(name):
            raise PipelineError(f"{packed / INDEX} names {name!r}, which is no file of a store; nothing was written")
    for folder in (out, *(out / name for name in FOLDERS)):
        if isinstance(folder, RemotePath):  # else each file would cost a request
            folder.list_anew()
        else:
            remove_abandoned(folder)
    todo: dict[int, list[str]] = {}
    for name, (number, *_) in sorted(files.items(), key=lambda item: (item[0] != "store.json", item[1])):
        if not _is_there(join_name(out, name), files[name]):
            todo.setdefault(number, []).append(name)
    total = sum(files[name][2] for names in todo.values() for name in names)
    done = 0
    # The shard with store.json comes first, so that an interrupted folder says what it is.
    for number, names in todo.items():
        path = shard_path(packed, number)
        if not path.exists():
            raise PipelineError(f"{packed} lacks its shard {path.name}; copy it there, or pack the store again")
        with open_bytes(path) as shard:
            for name in names:
                _copy_out(shard, path, files[name], name, join_name(out, name))
                done += files[name][2]
                report(done / max(1, total), f"{done / 1e9:.2f}/{total / 1e9:.2f} GB")
    return sum(map(len, todo.values()))


def _is_there(target: AnyPath, place: Place) -> bool:
    if not target.is_file():
        return False
    if target.stat().st_size != place[2] or sha256_of_file(target) != place[3]:
        raise PipelineError(f"{target} is there and differs from the packed one; choose another --out")
    return True


def _copy_out(shard: BufferedIOBase, path: AnyPath, place: Place, name: str, target: AnyPath) -> None:
    _, offset, size, sha256 = place
    digest, left = hashlib.sha256(), size
    shard.seek(offset)
    with whole_file(target) as partial:
        with partial.open("wb") as file:
            while left and (data := shard.read(min(_BLOCK, left))):
                digest.update(data)
                file.write(data)
                left -= len(data)
        if left or digest.hexdigest() != sha256:
            raise PipelineError(f"{path} is damaged at byte {offset}: {name} is not what the index says; pack it again")

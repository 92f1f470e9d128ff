"""The folder of a store: what may stand in it, and what earlier processes left there."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from pipeline.storage.local import remove_leftovers
from pipeline.storage.location import AnyPath, RemotePath
from pipeline.storage.temporary_names import remove_abandoned


def list_anew(path: AnyPath) -> None:
    """List the names and sizes of a remote store again, with a few requests for each thousand files."""
    if isinstance(path, RemotePath):
        for folder in (path, path / "features", path / "failures"):
            folder.list_anew()


def has_foreign_files(folder: AnyPath, known: Collection[str]) -> bool:
    """Whether the folder holds visible files that are not a store's.

    An interrupted start leaves `features/`; another process may have made `store.json` a moment ago.
    """
    own = {"store.json", "features", "failures", "logs", "parts", *known}
    return any(p.name not in own and not p.name.startswith(".") for p in folder.iterdir())


def is_packed(path: AnyPath) -> bool:
    """Whether the folder holds a packed store."""
    return (path / "index.json").is_file() and (path / "shards").is_dir() and not (path / "features").is_dir()


def remove_store_leftovers(path: AnyPath) -> None:
    """Remove temporary files that nobody will finish; those of other living processes stay."""
    if isinstance(path, RemotePath):
        remove_leftovers()
        return
    parts = path / "parts"
    for folder in (path, path / "features", path / "failures", *(parts.iterdir() if parts.is_dir() else ())):
        remove_abandoned(folder)


def json_files(folder: AnyPath) -> Iterator[AnyPath]:
    """Yield the visible JSON files of a folder; none if there is no such folder."""
    if folder.is_dir():
        yield from (p for p in folder.iterdir() if p.suffix == ".json" and not p.name.startswith("."))

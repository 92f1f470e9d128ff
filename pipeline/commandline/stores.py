"""The commands for whole stores: look into them, merge them, pack them into a few files."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from pipeline.commandline.app import Location, Locations, app
from pipeline.commandline.help_groups import GroupedApp

store_app = GroupedApp(name="store", help="Look into stores, merge them, pack them into a few large files.", sort_key=8)
app.command(store_app)
AsJson = Annotated[bool, Parameter(name="--json", negative=())]


@store_app.command(name="ls")
def list_store(store: Location, /, *, as_json: AsJson = False) -> int:
    """List the videos of a store, one per line: id, snippets, seconds, type of the features, separated by tabs.

    Args:
        store: A feature store.
        as_json: Print a JSON list.
    """
    from pipeline.commandline.store_commands import run_ls

    return run_ls(store, as_json=as_json)


@store_app.command(name="stats")
def sum_store(store: Location, /, *, as_json: AsJson = False) -> int:
    """Count a store's videos, hours, snippets, GB, and failures by kind, from the sidecars alone.

    Args:
        store: A feature store.
        as_json: Print a JSON object.
    """
    from pipeline.commandline.store_commands import run_stats

    return run_stats(store, as_json=as_json)


@store_app.command(name="merge")
def merge_stores(stores: Locations, /, *, out: Location) -> int:
    """Copy several stores of one kind into one. Run it again to continue.

    A video that is in several stores must have equal features in them.

    Args:
        stores: Two feature stores or more.
        out: The merged store; it may hold some of them already.
    """
    from pipeline.commandline.store_commands import run_merge

    return run_merge(stores, out)


@store_app.command(name="pack")
def pack_store(store: Location, /, *, out: Location, megabytes: float = 512) -> int:
    """Pack the files of a store into a few tar files with an index. Run it again to continue.

    Args:
        store: A feature store.
        out: A new folder.
        megabytes: Size of a full tar file.
    """
    from pipeline.commandline.store_commands import run_pack

    return run_pack(store, out, megabytes)


@store_app.command(name="unpack")
def unpack_store(packed: Location, /, *, out: Location) -> int:
    """Restore the store that `store pack` packed, byte for byte. Run it again to continue.

    Args:
        packed: The folder that `store pack` wrote.
        out: The feature store.
    """
    from pipeline.commandline.store_commands import run_unpack

    return run_unpack(packed, out)

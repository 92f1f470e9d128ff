"""The commands around whole stores, thin: what is in them, merging them, packing them into a few files."""

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
    """List the videos of a store: id, snippets, seconds, type of the features; one a line, tabs between.

    Args:
        store: A feature store.
        as_json: As a JSON list.
    """
    from pipeline.commandline.store_commands import run_ls

    return run_ls(store, as_json=as_json)


@store_app.command(name="stats")
def sum_store(store: Location, /, *, as_json: AsJson = False) -> int:
    """Videos, hours, snippets, GB, and failures by kind, from the sidecars alone.

    Args:
        store: A feature store.
        as_json: As a JSON object.
    """
    from pipeline.commandline.store_commands import run_stats

    return run_stats(store, as_json=as_json)


@store_app.command(name="merge")
def merge_stores(stores: Locations, /, *, out: Location) -> int:
    """Copy several stores of one kind into one; running it again goes on where it was.

    Videos that several stores have must have equal features.

    Args:
        stores: Two feature stores or more.
        out: The store of all of them; it may hold some already.
    """
    from pipeline.commandline.store_commands import run_merge

    return run_merge(stores, out)


@store_app.command(name="pack")
def pack_store(store: Location, /, *, out: Location, megabytes: float = 512) -> int:
    """Pack the files of a store into a few tar files with an index; running it again goes on where it was.

    Args:
        store: A feature store.
        out: A new folder.
        megabytes: Size at which a tar file is full.
    """
    from pipeline.commandline.store_commands import run_pack

    return run_pack(store, out, megabytes)


@store_app.command(name="unpack")
def unpack_store(packed: Location, /, *, out: Location) -> int:
    """Write the store that `store pack` has packed, byte for byte; running it again goes on where it was.

    Args:
        packed: The folder that `store pack` wrote.
        out: The feature store.
    """
    from pipeline.commandline.store_commands import run_unpack

    return run_unpack(packed, out)

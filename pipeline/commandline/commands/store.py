"""The commands for whole stores: look into them, merge them, pack them into a few files."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from pipeline.commandline.app import Location, Locations, app
from pipeline.commandline.help_groups import GroupedApp
from pipeline.commandline.terminal import say, say_columns, say_json
from pipeline.progress import progress
from pipeline.text.plain import counted

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
    from pipeline.store.feature_store import FeatureStore
    from pipeline.store.tools.contents import sequence_lines

    lines = sequence_lines(FeatureStore.open(store))
    if as_json:
        say_json([line.as_json() for line in lines])
        return 0
    for line in lines:
        say_columns(line.id, line.rows, f"{line.seconds:.2f}", line.dtype)
    return 0


@store_app.command(name="stats")
def sum_store(store: Location, /, *, as_json: AsJson = False) -> int:
    """Count a store's videos, hours, snippets, GB, and failures by kind, from the sidecars alone.

    Args:
        store: A feature store.
        as_json: Print a JSON object.
    """
    from pipeline.store.feature_store import FeatureStore
    from pipeline.store.tools.contents import totals

    found = totals(FeatureStore.open(store))
    if as_json:
        say_json(found.as_json())
        return 0
    for line in found.lines():
        say(line)
    return 0


@store_app.command(name="merge")
def merge_stores(stores: Locations, /, *, out: Location) -> int:
    """Copy several stores of one kind into one. Run it again to continue.

    A video that is in several stores must have equal features in them.

    Args:
        stores: Two feature stores or more.
        out: The merged store; it may hold some of them already.
    """
    from pipeline.store.feature_store import FeatureStore
    from pipeline.store.tools.merge import merge

    with progress("merge", total=1) as report:
        summary = merge([FeatureStore.open(store) for store in stores], out, report=report)
    say(f"{out}: {summary.text()}")
    return 0


@store_app.command(name="pack")
def pack_store(store: Location, /, *, out: Location, megabytes: float = 512) -> int:
    """Pack the files of a store into a few tar files with an index. Run it again to continue.

    Args:
        store: A feature store.
        out: A new folder.
        megabytes: Size of a full tar file.
    """
    from pipeline.store.feature_store import FeatureStore
    from pipeline.store.tools.pack import pack

    with progress("pack", total=1) as report:
        summary = pack(FeatureStore.open(store), out, megabytes=megabytes, report=report)
    say(f"{out}: {summary.text()}")
    return 0


@store_app.command(name="unpack")
def unpack_store(packed: Location, /, *, out: Location) -> int:
    """Restore the store that `store pack` packed, byte for byte. Run it again to continue.

    Args:
        packed: The folder that `store pack` wrote.
        out: The feature store.
    """
    from pipeline.store.feature_store import FeatureStore
    from pipeline.store.tools.unpack import unpack

    with progress("unpack", total=1) as report:
        written = unpack(packed, out, report=report)
    say(f"{out}: {counted(written, 'file')} written; {counted(len(FeatureStore.open(out).ids()), 'sequence')}")
    return 0

"""What the commands around whole stores do and print."""

from __future__ import annotations

from pipeline.commandline.terminal import say, say_columns, say_json
from pipeline.progress import progress
from pipeline.storage.location import AnyPath
from pipeline.store.feature_store import FeatureStore
from pipeline.store.tools.contents import sequence_lines, totals
from pipeline.store.tools.merge import merge
from pipeline.store.tools.pack import pack
from pipeline.store.tools.unpack import unpack
from pipeline.text.plain import counted


def run_pack(store: AnyPath, out: AnyPath, megabytes: float) -> int:
    with progress("pack", total=1) as report:
        summary = pack(FeatureStore.open(store), out, megabytes=megabytes, report=report)
    say(f"{out}: {summary.text()}")
    return 0


def run_unpack(packed: AnyPath, out: AnyPath) -> int:
    with progress("unpack", total=1) as report:
        written = unpack(packed, out, report=report)
    say(f"{out}: {counted(written, 'file')} written; {counted(len(FeatureStore.open(out).ids()), 'sequence')}")
    return 0


def run_merge(stores: list[AnyPath], out: AnyPath) -> int:
    with progress("merge", total=1) as report:
        summary = merge([FeatureStore.open(store) for store in stores], out, report=report)
    say(f"{out}: {summary.text()}")
    return 0


def run_ls(store: AnyPath, *, as_json: bool) -> int:
    lines = sequence_lines(FeatureStore.open(store))
    if as_json:
        say_json([line.as_json() for line in lines])
        return 0
    for line in lines:
        say_columns(line.id, line.rows, f"{line.seconds:.2f}", line.dtype)
    return 0


def run_stats(store: AnyPath, *, as_json: bool) -> int:
    found = totals(FeatureStore.open(store))
    if as_json:
        say_json(found.as_json())
        return 0
    for line in found.lines():
        say(line)
    return 0

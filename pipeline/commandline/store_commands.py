"""What the commands around whole stores do and print."""

from __future__ import annotations

import json

from rich.console import Console

from pipeline.progress import progress
from pipeline.storage.location import AnyPath
from pipeline.store.feature_store import FeatureStore
from pipeline.store.tools.contents import sequence_lines, totals
from pipeline.store.tools.merge import merge
from pipeline.store.tools.pack import pack
from pipeline.store.tools.unpack import unpack

_out = Console(soft_wrap=True, highlight=False)


def _say(text: str) -> None:
    _out.print(text, markup=False)


def run_pack(store: AnyPath, out: AnyPath, megabytes: float) -> int:
    with progress("pack", total=1) as report:
        summary = pack(FeatureStore.open(store), out, megabytes=megabytes, report=report)
    _say(f"{out}: {summary.text()}")
    return 0


def run_unpack(packed: AnyPath, out: AnyPath) -> int:
    with progress("unpack", total=1) as report:
        written = unpack(packed, out, report=report)
    _say(f"{out}: {written} files written; {len(FeatureStore.open(out).ids())} sequences")
    return 0


def run_merge(stores: list[AnyPath], out: AnyPath) -> int:
    with progress("merge", total=1) as report:
        summary = merge([FeatureStore.open(store) for store in stores], out, report=report)
    _say(f"{out}: {summary.text()}")
    return 0


def run_ls(store: AnyPath, *, as_json: bool) -> int:
    lines = sequence_lines(FeatureStore.open(store))
    if as_json:
        _say(json.dumps([line.as_json() for line in lines], ensure_ascii=False))
        return 0
    for line in lines:
        _out.file.write(f"{line.id}\t{line.rows}\t{line.seconds:.2f}\t{line.dtype}\n")  # print() makes blanks of tabs
    return 0


def run_stats(store: AnyPath, *, as_json: bool) -> int:
    found = totals(FeatureStore.open(store))
    if as_json:
        _say(json.dumps(found.as_json(), ensure_ascii=False))
        return 0
    for line in found.lines():
        _say(line)
    return 0

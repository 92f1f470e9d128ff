"""What the commands around whole stores do and print."""

from __future__ import annotations

from pathlib import Path

from pipeline.annotations import read_annotations
from pipeline.commandline.terminal import note, say, say_columns, say_json
from pipeline.errors import SOME_FAILED
from pipeline.progress import progress
from pipeline.storage.location import AnyPath
from pipeline.store.feature_store import FeatureStore
from pipeline.store.rates import fps_in
from pipeline.store.tools.contents import sequence_lines, totals
from pipeline.store.tools.merge import merge
from pipeline.store.tools.pack import pack
from pipeline.store.tools.unpack import unpack
from pipeline.store.tools.verify import repair as remove_files
from pipeline.store.tools.verify import verify_against_annotations, verify_against_videos, verify_store
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


def run_verify(
    path: AnyPath, *, deep: bool, videos: list[AnyPath] | None, annotations: Path | None, repair: bool
) -> int:
    store = FeatureStore.open(path)
    with progress("verify", total=1) as report:
        problems = verify_store(store, deep=deep, report=report)
    if videos:
        problems += verify_against_videos(store, videos)
    if annotations:
        truth = read_annotations(annotations, subsets=(), fps_of=fps_in(store))  # their segments are not compared
        for line in truth.problems:
            note(line)
        problems += verify_against_annotations(store, truth)
    for problem in problems:
        say(f"{problem.kind}: {problem.id}: {problem.detail}")
    how = "read and compared" if deep else "compared by size and shape"
    say(f"{path}: {counted(len(store.ids()), 'sequence')} {how}, {counted(len(problems), 'problem')}")
    if repair:
        removed = remove_files(problems)
        say(f"{counted(removed, 'file')} removed; run the stage again to make them anew")
    return SOME_FAILED if problems else 0

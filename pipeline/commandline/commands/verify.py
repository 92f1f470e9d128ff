"""`verify`: what is wrong with a store."""

from __future__ import annotations

from pathlib import Path

from pipeline.commandline.app import Location, Locations, app
from pipeline.commandline.terminal import note, say
from pipeline.errors import SOME_FAILED
from pipeline.progress import progress
from pipeline.text.plain import counted


@app.command(name="verify", sort_key=7)
def verify(
    store: Location,
    /,
    *,
    deep: bool = False,
    videos: Locations | None = None,
    annotations: Path | None = None,
    repair: bool = False,
) -> int:
    """Check a feature store: sizes, shapes, specs. The exit code is 1 if there are problems.

    Args:
        store: The feature store.
        deep: Also read every array: check hashes, finite values, and the number of rows against the duration.
        videos: Also compare with these videos: list missing, failed and surplus ones.
        annotations: Also compare with these annotations.
        repair: Remove bad files, so that the stage makes them again.
    """
    from pipeline.annotations import read_annotations
    from pipeline.store.feature_store import FeatureStore
    from pipeline.store.rates import fps_in
    from pipeline.store.tools.verify import repair as remove_files
    from pipeline.store.tools.verify import verify_against_annotations, verify_against_videos, verify_store

    opened = FeatureStore.open(store)
    with progress("verify", total=1) as report:
        problems = verify_store(opened, deep=deep, report=report)
    if videos:
        problems += verify_against_videos(opened, videos)
    if annotations:
        truth = read_annotations(annotations, subsets=(), fps_of=fps_in(opened))  # their segments are not compared
        for line in truth.problems:
            note(line)
        problems += verify_against_annotations(opened, truth)
    for problem in problems:
        say(f"{problem.kind}: {problem.id}: {problem.detail}")
    how = "read and compared" if deep else "compared by size and shape"
    say(f"{store}: {counted(len(opened.ids()), 'sequence')} {how}, {counted(len(problems), 'problem')}")
    if repair:
        removed = remove_files(problems)
        say(f"{counted(removed, 'file')} removed; run the stage again to make them anew")
    return SOME_FAILED if problems else 0

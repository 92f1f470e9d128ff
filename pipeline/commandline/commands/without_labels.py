"""The commands that need no labels: their options, the call, what they print."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pipeline.commandline.app import Flat, Locations, app
from pipeline.errors import PipelineError
from pipeline.extraction.config import ExtractConfig
from pipeline.segmentation.config import SegmentConfig

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pipeline.config import LocalizeConfig
    from pipeline.storage.location import AnyPath
    from pipeline.store.feature_store import FeatureStore

_LISTED = 10  # best detections to print


@app.command(name="segment", sort_key=7)
def segment(
    videos_or_store: Locations,
    /,
    *,
    out: Path,
    videos: Locations | None = None,
    settings: Annotated[SegmentConfig, Flat] = SegmentConfig(),
    extract: Annotated[ExtractConfig, Flat] = ExtractConfig(),
) -> int:
    """Cut videos into segments without labels, and group the segments into kinds that recur.

    OUT/annotations.json holds the segments with their kinds as labels, for `train`, `evaluate` and others. OUT/kinds
    has a picture of each kind, OUT/self_similarity one of each video.

    Args:
        videos_or_store: Videos as for `extract`, or one feature store, plain or enhanced. Features of videos are kept
            in OUT/features.
        out: Folder of results.
        videos: With a store: its videos, to show what each kind looks like.
    """
    from pipeline.commandline.terminal import note, say, say_failures
    from pipeline.progress import progress
    from pipeline.stages.segment import segment as find_segments
    from pipeline.stages.segment import write_segments
    from pipeline.stages.segment_pictures import draw_kinds, draw_map, draw_videos, files_of
    from pipeline.text.plain import counted

    if videos and _is_store(videos_or_store) is None:
        raise PipelineError("videos has no effect where videos are given already; it goes with a store")
    store, failed = _store_of(videos_or_store, out / "features", extract)
    shown = videos if _is_store(videos_or_store) else videos_or_store
    with progress("segment", total=1) as report:
        found = find_segments(store, settings, report=report)
    annotations = write_segments(out, found, store, settings)
    with progress("draw", total=1) as report:
        draw_map(found, out)
        notes = draw_videos(found, store, out, most=settings.max_pictures, report=report)
        if shown:
            files = files_of(shown, ids=extract.ids, frame_rate=extract.frame_rate)
            notes += draw_kinds(found, files, out, report=report)
        else:
            notes.append("give --videos to see what each kind looks like")
    for line in notes:
        note(line)
    say(f"{annotations}: {found.text()}")
    for label, facts in found.facts_of_kinds().items():
        say(
            f"  {label}: {counted(int(facts['segments']), 'segment')} in {counted(int(facts['videos']), 'video')}, "
            f"{facts['seconds']:.0f} s"
        )
    for folder in ("kinds", "self_similarity") if shown else ("self_similarity",):
        say(f"pictures: {out / folder}")
    return say_failures({**failed, **found.failed})


def run_like(
    inputs: Sequence[AnyPath],
    like: Sequence[str],
    out: Path,
    settings: LocalizeConfig,
    *,
    report_folder: Path | None = None,
) -> int:
    """Find what resembles marked stretches, without a model; list the best."""
    from pipeline.annotations.detections import write_detections
    from pipeline.commandline.outputs import require_suffix
    from pipeline.commandline.terminal import say, say_failures
    from pipeline.progress import progress
    from pipeline.report.page import require_report_folder
    from pipeline.showing.files import FORM_SUFFIXES, check_suffix, write_form
    from pipeline.stages.locate_like import best_of_each, locate_like
    from pipeline.text.plain import counted

    require_suffix(out, ".json", *FORM_SUFFIXES)
    check_suffix(out)
    if report_folder is not None:
        require_report_folder(report_folder)
    if isinstance(settings.min_score, str):
        raise PipelineError("min_score=auto needs a model; with --like give a number, a cosine from 0 to 1")
    store, failed = _store_of(inputs, out.with_suffix(".features"), _extraction(settings))
    with progress("localize", total=1) as report:
        found, unusable = locate_like(store, like, report=report)
    found = best_of_each(found, min_score=settings.min_score or 0.0, most=settings.max_detections)
    if out.suffix.lower() == ".json":
        write_detections(out, found, extra={"like": list(like), "features": store.fingerprint()})
    else:
        write_form(out, found, None)
    ranked = sorted(((one, i) for i, of in found.items() for one in of), key=lambda pair: -pair[0].score)
    best = "; the best:" if ranked else ""
    say(f"{out}: {counted(len(ranked), 'detection')} in {counted(len(found), 'video')}{best}")
    for one, video_id in ranked[:_LISTED]:
        say(f"  {one.score:.2f}  {video_id}  {one.segment[0]:.2f}-{one.segment[1]:.2f}  {one.label}")
    failures = {**failed, **unusable}
    if report_folder is not None:
        from pipeline.commandline.commands.report import say_report
        from pipeline.report.config import ReportConfig
        from pipeline.report.detection_facts import Given, read_given

        given = Given((), inputs, failed=failures, located=(out, found), frame_rate=settings.frame_rate)
        say_report(read_given(given), report_folder, ReportConfig())
    return say_failures(failures)


def _extraction(settings: LocalizeConfig) -> ExtractConfig:
    usual = ExtractConfig()
    return ExtractConfig(
        encoder=settings.encoder or usual.encoder,
        weights=settings.weights or usual.weights,
        device=settings.device,
        batch_size=settings.batch_size,
        timeout_seconds=settings.timeout_seconds,
        max_corrupt=settings.max_corrupt,
        ids=settings.ids,
        frame_rate=settings.frame_rate,
    )


def _is_store(inputs: Sequence[AnyPath]) -> AnyPath | None:
    """Return the store among the inputs, or None if they are videos.

    Raises:
        PipelineError: there is a store and something else.
    """
    stores = [path for path in inputs if (path / "store.json").is_file()]
    if stores and len(inputs) > 1:
        raise PipelineError(f"give videos or one store, got {len(inputs)} inputs of which {stores[0]} is a store")
    return stores[0] if stores else None


def _store_of(
    inputs: Sequence[AnyPath], features: Path, config: ExtractConfig
) -> tuple[FeatureStore, Mapping[str, str]]:
    """Return the store that is given, or one of the given videos, made in `features`; and the videos that failed."""
    from pipeline.commandline.terminal import note, say
    from pipeline.progress import progress
    from pipeline.stages.extract import extract
    from pipeline.store.feature_store import FeatureStore

    if (path := _is_store(inputs)) is not None:
        return FeatureStore.open(path), {}
    with progress("extract", total=1) as report:
        store, summary = extract(inputs, features, config, report=report)
    for line in summary.notes:
        note(line)
    say(f"{store.path}: {summary.text()}")
    if not store.ids():
        first = next((f"; the first: {name}: {reason}" for name, reason in summary.failed.items()), "")
        raise PipelineError(f"no video could be extracted{first}")
    return store, summary.failed

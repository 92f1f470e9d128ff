"""Stage: files with labels, of any tool → one file of annotations, or files for another tool."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.annotations import Annotations, write_annotations
from pipeline.annotations.checking import check, number
from pipeline.annotations.config import ConvertConfig
from pipeline.annotations.detections import DIALECT, read_detections
from pipeline.annotations.faults import Fault, FaultyAnnotationsError
from pipeline.annotations.formats import files_of, translate
from pipeline.annotations.frames import in_seconds
from pipeline.annotations.raw import RawAnnotations, RawSegment, RawVideo
from pipeline.annotations.splitting import with_split
from pipeline.annotations.tools.labeled import Labeled
from pipeline.annotations.tools.writing import Form, form_of, write_for_tool
from pipeline.annotations.videos import VideoFacts
from pipeline.errors import PipelineError
from pipeline.progress import Report, silent
from pipeline.storage.location import AnyPath

if TYPE_CHECKING:
    from pipeline.video.measured import MeasuredVideos

_MOST_APART_SECONDS = 1.0  # a stated duration, and the measured one
_OWN_RATE = (
    "Label Studio counts frames at the rate of its labeling configuration, 24 a second if that names none; here frames "
    "are counted at each video's own rate: give fps if that is another"
)


@dataclass(frozen=True)
class Conversion:
    """The result of `convert`.

    Args:
        annotations: as read, checked and split; None if detections were written for a tool.
        written: the files.
        faults: what was left out, one line each.
        notes: what was chosen or looks odd.
    """

    annotations: Annotations | None
    written: list[Path]
    faults: list[str]
    notes: list[str]


def convert(
    files: Sequence[Path],
    out: Path | None,
    config: ConvertConfig,
    *,
    videos: Sequence[AnyPath] | None = None,
    report: Report = silent,
) -> Conversion:
    """Read labels, compare them with the videos, split and check them, and write them.

    Args:
        files: files and folders with labels, in any form that `pipeline.annotations.formats` knows; or one file of
            detections.
        out: what to write; None: nothing.
        config: the form, the split, and what is done about faults.
        videos: the files that the labels are for: their durations, rates and names are taken.
        report: gets the share of the videos that are measured, 0 to 1.

    Raises:
        FaultyAnnotationsError: there are faults, `out` is given and `config.skip_faults` is not; nothing is written.
        PipelineError: a file cannot be read, `out` says no form or is one of the files, or detections are given
            without `config.min_score`.
    """
    tool = None if out is None else _tool(out, config)
    if out is not None and any(out.resolve() == file.resolve() for path in files for file in (path, *files_of(path))):
        raise PipelineError(f"--out {out} is one of the files with labels; name another")
    measured = None
    if videos:
        from pipeline.video.measured import MeasuredVideos  # late: it loads a decoder

        measured = MeasuredVideos(videos)
    raw = translate(files)
    if raw.dialect == DIALECT and out is not None and tool is not None:
        return _detections(files[0], out, tool, config, measured)
    raw = _sure(raw, config, str(files[0]))
    notes: list[str] = []
    if measured is not None:
        raw = _beside(raw, measured, report)
    raw = _in_seconds(raw, config, measured, notes)
    if measured is not None:
        raw = replace(raw, videos=[_as_measured(video, measured.facts(video.id), notes) for video in raw.videos])
    if config.validation:
        raw, chosen = with_split(raw, share=config.validation, seed=config.seed)
        notes.append(chosen.text())
    checked = partial(check, raw, source=", ".join(map(str, files)), tolerance_seconds=config.tolerance_seconds)
    annotations, faults = _without_faults(raw, checked, skip=config.skip_faults or out is None)
    written = [] if out is None else [out]
    if out is not None and tool is None:
        write_annotations(out, annotations)
    elif out is not None:
        segments = {name: [*video.segments, *video.ambiguous] for name, video in annotations.videos.items()}
        written = _write(segments, out, tool, measured)
    return Conversion(annotations, written, faults, notes)


def _tool(out: Path, config: ConvertConfig) -> Form | None:
    """Return the form of a tool to write; None for annotations."""
    if config.to == "activitynet" or (config.to is None and out.suffix.lower() == ".json"):
        return None
    return form_of(out, config.to)


def _detections(
    file: Path, out: Path, tool: Form, config: ConvertConfig, measured: MeasuredVideos | None
) -> Conversion:
    """Write detections for a tool as they are, with their scores."""
    least = float("-inf") if config.min_score is None else config.min_score
    found = {name: [item for item in items if item.score >= least] for name, items in read_detections(file).items()}
    return Conversion(None, _write(found, out, tool, measured), [], [])


def _write(
    labeled: Mapping[str, Sequence[Labeled]], out: Path, tool: Form | None, measured: MeasuredVideos | None
) -> list[Path]:
    facts = {}
    if measured is not None:
        facts = {name: measured.facts(known) for name in labeled if (known := measured.find(name)) is not None}
    return write_for_tool(labeled, out, tool, facts)


def _sure(raw: RawAnnotations, config: ConvertConfig, source: str) -> RawAnnotations:
    """Return the segments without those of a lower score than asked for.

    Raises:
        PipelineError: the values are detections, and no score is asked for.
    """
    if config.min_score is None:
        if raw.dialect != DIALECT:
            return raw
        raise PipelineError(
            f"{source} holds detections: --min-score 0.5 makes annotations of the sure ones; --out NAME.eaf, .csv, "
            ".xml or .txt, or --to, writes them for a tool"
        )
    videos = []
    for video in raw.videos:
        kept = [segment for segment in video.segments if segment.score is None or _score(segment) >= config.min_score]
        videos.append(replace(video, segments=kept))
    return replace(raw, videos=videos)


def _score(segment: RawSegment) -> float:
    try:
        return number(segment.score, "score")
    except Fault as fault:
        raise PipelineError(f"annotations: {segment.where}: {fault}") from None


def _beside(raw: RawAnnotations, measured: MeasuredVideos, report: Report) -> RawAnnotations:
    """Return the values with the names of the videos, which are measured; one that is not there is a fault."""
    videos: dict[str, RawVideo] = {}
    faults = []
    for count, video in enumerate(raw.videos, start=1):
        known = measured.find(video.id)
        if known is None:
            faults.append(f"video {video.id!r} is not among the videos{_nearest(video.id, measured.ids())}")
        elif known in videos:
            faults.append(f"video {known!r} has two names, {video.id!r} and {videos[known].id!r}; keep one")
        else:
            try:
                measured.facts(known)
                videos[known] = replace(video, id=known)
            except PipelineError as error:
                faults.append(str(error))
        report(count / len(raw.videos), f"{count}/{len(raw.videos)} videos measured")
    return replace(raw, videos=list(videos.values()), faults=(*raw.faults, *faults))


def _in_seconds(
    raw: RawAnnotations, config: ConvertConfig, measured: MeasuredVideos | None, notes: list[str]
) -> RawAnnotations:
    """Return the values in seconds: by the rate that is given, else the file's, else that of the video."""
    if config.fps:
        raw = replace(raw, videos=[replace(video, fps=config.fps) for video in raw.videos])
    asked: list[str] = []

    def fps_of(name: str) -> float | None:
        asked.append(name)
        return measured.facts(name).fps if measured else None

    raw = in_seconds(raw, fps_of)
    if asked and measured and "label-studio" in raw.dialect:
        notes.append(_OWN_RATE)
    return raw


def _as_measured(video: RawVideo, facts: VideoFacts, notes: list[str]) -> RawVideo:
    """Return the video with the duration and the rate of its file."""
    if isinstance(video.duration, (int, float)) and abs(video.duration - facts.seconds) > _MOST_APART_SECONDS:
        notes.append(f"video {video.id!r} lasts {facts.seconds:.2f} s, and not the {video.duration:.2f} s of the file")
    return replace(video, duration=facts.seconds, fps=facts.fps, frames=facts.frames)


def _nearest(name: str, known: list[str]) -> str:
    """Return a hint at the video whose name is most like `name`."""
    by_form = {other.casefold(): other for other in known}
    near = difflib.get_close_matches(name.casefold(), by_form, n=1)
    return f"; did you mean {by_form[near[0]]!r}?" if near else "; put it there, or remove its labels"


def _without_faults(
    raw: RawAnnotations, checked: Callable[..., Annotations], *, skip: bool
) -> tuple[Annotations, list[str]]:
    """Return the annotations, and the faults that were left out."""
    try:
        return checked(), []
    except FaultyAnnotationsError as error:
        if not skip:
            raise
        found, faults = checked(subsets=()), error.lines
    # A video of which nothing is left would count as one without actions.
    emptied = {video.id for video in raw.videos if video.segments}
    kept = {n: v for n, v in found.videos.items() if v.segments or v.ambiguous or n not in emptied}
    return replace(found, videos=kept), faults

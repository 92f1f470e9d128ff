"""Reading annotation files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

from pipeline.annotations import activitynet, bsn, thumos
from pipeline.annotations.checking import Fault, Notes, check, fit_segment, raise_faults
from pipeline.annotations.model import Annotations
from pipeline.annotations.raw import RawAnnotations
from pipeline.annotations.segments import Segment
from pipeline.errors import PipelineError
from pipeline.storage.atomic_files import read_json


def read_annotations(path: Path, *, tolerance_seconds: float = 0.5) -> Annotations:
    """The ground truth in ``path``: a file of the ActivityNet family or of BSN, or a folder of THUMOS14 text files.

    The dialect is recognized; what it says and :class:`Annotations` cannot hold is named in ``problems``. Numbers
    may be strings. Segments that overshoot their video a little are clipped, segments of no length left out;
    ``problems`` counts both.

    Args:
        tolerance_seconds: how much a segment may overshoot its video, or 1 % of the duration where that is more.

    Raises:
        PipelineError: the file is absent or no annotation file; an id appears twice; a segment is reversed,
            negative, not two finite numbers, without label, or beyond its video by more than the tolerance.
    """
    return check(_translate(path), source=str(path), tolerance_seconds=tolerance_seconds)


def fit_to_durations(
    annotations: Annotations, durations: Mapping[str, float], *, tolerance_seconds: float = 0.5
) -> Annotations:
    """The annotations with the durations of the videos themselves, and segments clipped to them.

    Args:
        durations: seconds by video id, as measured on the videos; videos that it does not name stay as they are.
        tolerance_seconds: as in :func:`read_annotations`.

    Raises:
        PipelineError: a segment lies beyond its video by more than the tolerance.
    """
    notes = Notes()
    faults: list[str] = []
    videos = dict(annotations.videos)
    for name in (name for name in annotations.videos if name in durations):
        clip = partial(_clip, name, float(durations[name]), tolerance_seconds, notes, faults)
        video = videos[name]
        videos[name] = replace(
            video,
            duration=float(durations[name]),
            segments=clip(video.segments),
            ambiguous=clip(video.ambiguous),
        )
    raise_faults(faults, source="against the videos")
    return replace(annotations, videos=videos, problems=(*annotations.problems, *notes.lines()))


def _clip(
    video: str,
    duration: float,
    tolerance_seconds: float,
    notes: Notes,
    faults: list[str],
    segments: tuple[Segment, ...],
) -> tuple[Segment, ...]:
    kept = []
    for segment in segments:
        try:
            fitted = fit_segment(segment, duration, tolerance_seconds, video=video, notes=notes)
        except Fault as fault:
            faults.append(f"video {video!r}: {fault}")
            continue
        if fitted is not None:
            kept.append(fitted)
    return tuple(kept)


def _translate(path: Path) -> RawAnnotations:
    """The file's own values, from whichever dialect it is in."""
    if path.is_dir() or path.suffix.lower() == ".txt":
        return thumos.translate(path)
    content = read_json(path, what="annotations")
    if isinstance(content, dict) and "database" in content:
        return activitynet.translate(content, source=str(path))
    if bsn.recognizes(content):
        return bsn.translate(content, source=str(path), subsets=path.with_name(bsn.SUBSETS_NAME))
    raise PipelineError(
        f'annotations {path}: no "database" in it; accepted are the ActivityNet form '
        '{"database": {id: {"subset", "duration", "annotations": [{"segment": [start, end], "label"}]}}} (also of '
        'HACS, THUMOS14, ActionFormer), BSN\'s {id: {"duration_second", ...}}, and a folder of THUMOS14 text files'
    )

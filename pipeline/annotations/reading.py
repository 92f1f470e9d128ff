"""Read annotation files."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

from pipeline.annotations import activitynet, bsn, thumos
from pipeline.annotations.checking import Fault, Faults, Notes, check, check_bounds, clip_segment
from pipeline.annotations.model import Annotations, VideoAnnotations
from pipeline.annotations.raw import RawAnnotations
from pipeline.annotations.segments import TOLERANCE_SECONDS, Segment
from pipeline.errors import PipelineError
from pipeline.storage.read_files import read_json


def read_annotations(
    path: Path,
    *,
    tolerance_seconds: float = TOLERANCE_SECONDS,
    subsets: Collection[str] | None = None,
    mend: bool = True,
) -> Annotations:
    """Return the ground truth in `path`: a file in ActivityNet's or BSN's form, or a folder of THUMOS14 text files.

    The dialect is detected. `problems` names the fields that `Annotations` cannot hold. Numbers may be strings.
    Segments that extend slightly beyond their video are clipped, segments of length 0 are left out; `problems`
    counts both.

    Args:
        tolerance_seconds: how far a segment may extend beyond its video, or 1 % of the duration if that is more.
        subsets: the subsets in use; a fault in another is left out and noted in `problems`. None: all are in use.
            Empty: none is, as for a reader of ids and durations, which no fault stops.
        mend: if False, segments slightly beyond their video or of length 0 stay as the file has them, in its order.

    Raises:
        PipelineError: the file is absent or is not an annotation file; in the subsets in use, an id appears twice, or
            a segment is reversed, negative, not two finite numbers, without label, or beyond its video by more than
            the tolerance.
    """
    return check(_translate(path), source=str(path), tolerance_seconds=tolerance_seconds, subsets=subsets, mend=mend)


def fit_to_durations(
    annotations: Annotations,
    durations: Mapping[str, float],
    *,
    tolerance_seconds: float = TOLERANCE_SECONDS,
    subsets: Collection[str] | None = None,
) -> Annotations:
    """Return the annotations with the measured durations of the videos, and segments clipped to them.

    Args:
        durations: seconds by video id, as measured on the videos; other videos stay as they are.
        tolerance_seconds, subsets: as in `read_annotations`.

    Raises:
        PipelineError: a segment of the subsets in use lies beyond its video by more than the tolerance.
    """
    notes = Notes()
    faults = Faults(subsets, notes)
    videos = dict(annotations.videos)
    for name in (name for name in annotations.videos if name in durations):
        video = replace(videos[name], duration=float(durations[name]))
        clip = partial(_clip, video, tolerance_seconds, notes, faults)
        videos[name] = replace(video, segments=clip(video.segments), ambiguous=clip(video.ambiguous))
    faults.refuse(source="against the videos")
    return replace(annotations, videos=videos, problems=(*annotations.problems, *notes.lines()))


def _clip(
    video: VideoAnnotations, tolerance_seconds: float, notes: Notes, faults: Faults, segments: tuple[Segment, ...]
) -> tuple[Segment, ...]:
    kept = []
    for segment in segments:
        try:
            check_bounds(segment, video.duration, tolerance_seconds)
        except Fault as fault:
            faults.add(f"video {video.id!r}: {fault}", subset=video.subset)
            continue
        fitted = clip_segment(segment, video.duration, video=video.id, notes=notes)
        if fitted is not None:
            kept.append(fitted)
    return tuple(kept)


def _translate(path: Path) -> RawAnnotations:
    """Return the values of a file in any dialect."""
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

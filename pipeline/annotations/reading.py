"""Read annotation files."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

from pipeline.annotations.checking import check, check_bounds, clip_segment
from pipeline.annotations.faults import Fault, Faults, Notes
from pipeline.annotations.frames import FpsOf, in_seconds
from pipeline.annotations.model import Annotations, VideoAnnotations
from pipeline.annotations.segments import TOLERANCE_SECONDS, Segment
from pipeline.annotations.splitting import with_validation
from pipeline.errors import PipelineError
from pipeline.storage.read_files import sha256_of_file


def read_annotations(
    path: Path,
    *,
    tolerance_seconds: float = TOLERANCE_SECONDS,
    subsets: Collection[str] | None = None,
    mend: bool = True,
    fps_of: FpsOf | None = None,
) -> Annotations:
    """Return the ground truth in `path`: a file in a form of `pipeline.annotations.formats`, or a folder of them.

    The form is detected. `problems` names the fields that `Annotations` cannot hold. Numbers may be strings.
    Segments that extend slightly beyond their video are clipped, segments of length 0 are left out; `problems`
    counts both. If the subset validation is in use and the file has none, some of its training videos are taken for it,
    each time the same; `problems` tells which.

    Args:
        tolerance_seconds: how far a segment may extend beyond its video, or 1 % of the duration if that is more.
        subsets: the subsets in use; a fault in another is left out and noted in `problems`. None: all are in use.
            Empty: none is, as for a reader of ids and durations, which no fault stops.
        mend: if False, segments slightly beyond their video or of length 0 stay as the file has them, in its order.
        fps_of: asked for the frame rate of a video if the file counts frames and does not tell it.

    Raises:
        PipelineError: the file is absent or is not an annotation file; in the subsets in use, an id appears twice, or
            a segment is reversed, negative, not two finite numbers, without label, or beyond its video by more than
            the tolerance.
    """
    from pipeline.annotations.detections import DIALECT
    from pipeline.annotations.formats import translate

    raw = translate([path])
    if raw.dialect == DIALECT:
        raise PipelineError(
            f"annotations {path}: these are detections; make annotations of the sure ones with "
            f"`annotations {path.name} --min-score 0.5 --out annotations.json`, and look at them before they are used"
        )
    raw = with_validation(in_seconds(raw, fps_of), subsets)
    return check(raw, source=str(path), tolerance_seconds=tolerance_seconds, subsets=subsets, mend=mend)


def sha256_of_annotations(path: Path) -> str:
    """Return the SHA-256 of a file with labels; of a folder, that of its files' names and SHA-256.

    Raises:
        PipelineError: there is no such file or folder.
    """
    from pipeline.annotations.formats import files_of

    if not path.is_dir():
        if not path.is_file():
            raise PipelineError(f"annotations: no file {path}")
        return sha256_of_file(path)
    lines = [f"{file.name} {sha256_of_file(file)}" for file in files_of(path)]
    return hashlib.sha256("\n".join(lines).encode(errors="surrogateescape")).hexdigest()


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

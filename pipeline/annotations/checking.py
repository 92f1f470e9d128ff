"""Check a file's values: fix and count small faults, refuse the rest."""

from __future__ import annotations

import math
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

from pipeline.annotations.faults import Fault, Faults, Notes
from pipeline.annotations.model import AMBIGUOUS, Annotations, VideoAnnotations
from pipeline.annotations.raw import RawAnnotations, RawSegment, RawVideo
from pipeline.annotations.segments import TOLERANCE_SECONDS, Segment, check_tolerance

_RELATIVE_TOLERANCE = 0.01  # containers and annotation tools have different clocks, which drift apart in long videos
_MOST, _LEAST = 1e12, 1e-6  # of seconds, frames, rates and scores: larger ones overflow in sums and products
_MOST_FPS = 1e6


def check(
    raw: RawAnnotations,
    *,
    source: str,
    tolerance_seconds: float = TOLERANCE_SECONDS,
    subsets: Collection[str] | None = None,
    mend: bool = True,
) -> Annotations:
    """Return checked annotations from a file's values.

    Args:
        source: names the file in messages.
        tolerance_seconds: a segment may extend beyond its video by this much, or by 1 % of the duration if that
            is more; it is then clipped.
        subsets: the subsets in use; faults in other subsets are left out and noted. None: all are in use.
        mend: if False, segments within the tolerance stay as the file has them, in its order, also those of length 0.

    Raises:
        FaultyAnnotationsError: values that cannot be fixed automatically; names the first and counts the others.
    """
    check_tolerance(tolerance_seconds)
    notes = Notes()
    faults = Faults(subsets, notes)
    for line in raw.faults:
        faults.add(line, subset=None)
    videos: dict[str, VideoAnnotations] = {}
    for raw_video in raw.videos:
        if earlier := videos.get(raw_video.id):
            for subset in {earlier.subset, raw_video.subset or ""}:
                faults.add(f"video {raw_video.id!r} appears twice; keep one of the two", subset=subset)
        try:
            videos[raw_video.id] = _video(raw_video, tolerance_seconds, mend, notes, faults)
        except Fault as fault:
            faults.add(f"video {raw_video.id!r}: {fault}", subset=raw_video.subset or "")
    faults.refuse(source=source)
    labels = _labels(raw, videos, notes)
    return Annotations(
        version=raw.version,
        videos=videos,
        labels=labels,
        problems=(*notes.lines(), *raw.losses),
        dialect=raw.dialect,
        faults=faults.noted,
    )


def _video(raw: RawVideo, tolerance_seconds: float, mend: bool, notes: Notes, faults: Faults) -> VideoAnnotations:
    if raw.subset is not None and not isinstance(raw.subset, str):
        raise Fault(f"subset must be a name, got {raw.subset!r:.80}")
    duration = _positive(raw.duration, "duration", raw.id, notes)
    frames = _positive(raw.frames, "number of frames", raw.id, notes)
    fps = _positive(raw.fps, "fps", raw.id, notes)
    if fps is None and frames is not None and duration is not None:
        fps = _positive(frames / duration, "fps", raw.id, notes)
    segments = []
    for place, raw_segment in enumerate(raw.segments):
        try:
            segment = _segment(raw_segment)
            check_bounds(segment, duration, tolerance_seconds)
        except Fault as fault:
            where = (
                f"{raw_segment.where}: video {raw.id!r}" if raw_segment.where else f"video {raw.id!r}, segment {place}"
            )
            faults.add(f"{where}: {fault}", subset=raw.subset or "")
            continue
        fitted = clip_segment(segment, duration, video=raw.id, notes=notes) if mend else segment
        if fitted is not None:
            segments.append(fitted)
    if mend:
        segments.sort(key=lambda segment: segment.segment)
    for segment, count in Counter(segments).items():
        if count > 1:
            notes.add("segments given more than once", f"{raw.id} {describe(segment)} × {count}")
    return VideoAnnotations(
        id=raw.id,
        subset=(raw.subset or "").strip(),
        duration=duration,
        fps=fps,
        segments=tuple(s for s in segments if s.label != AMBIGUOUS),
        ambiguous=tuple(s for s in segments if s.label == AMBIGUOUS),
        frames=None if frames is None else round(frames),
    )


def _segment(raw: RawSegment) -> Segment:
    if not isinstance(raw.bounds, (list, tuple)) or len(raw.bounds) != 2:
        raise Fault(f"segment must be two numbers [start, end] in seconds, got {raw.bounds!r:.80}")
    start, end = (number(bound, "segment bounds") for bound in raw.bounds)
    label = str(raw.label) if isinstance(raw.label, int) and not isinstance(raw.label, bool) else raw.label
    if not isinstance(label, str) or not label.strip():
        raise Fault(f"label must be a name, got {raw.label!r:.80}; give every segment a label")
    if end < start:
        raise Fault(f"{[start, end]} ends before it starts; swap the two or remove it")
    return Segment((start, end), label.strip())


def check_bounds(segment: Segment, duration: float | None, tolerance_seconds: float) -> None:
    """Check that the segment lies inside its video, within the tolerance.

    Raises:
        Fault: it does not.
    """
    tolerance = max(tolerance_seconds, _RELATIVE_TOLERANCE * (duration or 0.0))
    start, end = segment.segment
    last = math.inf if duration is None else duration
    over = max(-start, end - last)
    if over > tolerance:
        side = "starts before 0" if -start == over else f"ends after the video's duration, {last:g} s,"
        raise Fault(
            f"{[start, end]} {side} by {over:.3g} s, more than the tolerance of {tolerance:.3g} s; correct the "
            "segment or the duration, remove the segment, or allow more (--tolerance-seconds); times are seconds: are "
            "these frames?"
        )


def clip_segment(segment: Segment, duration: float | None, *, video: str, notes: Notes) -> Segment | None:
    """Return the segment clipped to its video, or None if nothing is left; record changes in `notes`."""
    start, end = segment.segment
    last = math.inf if duration is None else duration
    if start < 0 or end > last:
        notes.add("segments clipped to their video", f"{video} {describe(segment)}")
    start, end = max(0.0, start), min(end, last)
    if end <= start:
        notes.add("segments of no length, left out", f"{video} {describe(segment)}")
        return None
    return replace(segment, segment=(start, end))


def _labels(raw: RawAnnotations, videos: Mapping[str, VideoAnnotations], notes: Notes) -> tuple[str, ...]:
    names = sorted({segment.label for video in videos.values() for segment in video.segments})
    alike: dict[str, list[str]] = defaultdict(list)
    for name in names:
        alike[_spelling(name)].append(name)
    for same in alike.values():
        if len(same) > 1:
            notes.add(
                "groups of labels that differ only in case or spaces, taken as classes of their own", " / ".join(same)
            )
    ids: dict[str, set[Any]] = defaultdict(set)
    for raw_segment in (segment for video in raw.videos for segment in video.segments):
        label_id = raw_segment.label_id
        plain = label_id is None or (isinstance(label_id, int) and not isinstance(label_id, bool))
        ids[str(raw_segment.label).strip()].add(label_id if plain else f"{label_id!r:.40}")
    given = {name: next(iter(ids[name])) for name in names if len(ids[name]) == 1}
    if all(values == {None} for values in ids.values()):
        return tuple(names)
    integers = all(isinstance(value, int) for value in given.values())
    if len(given) < len(names) or not integers or len(set(given.values())) < len(names):
        odd = [f"{name}: {sorted(map(str, ids[name]))}" for name in names if len(ids[name]) != 1]
        notes.add("disagreement of label and label_id; classes are ordered by name", "; ".join(odd[:1]) or "shared ids")
        return tuple(names)
    return tuple(sorted(names, key=lambda name: given[name]))


def _spelling(label: str) -> str:
    """Return what labels have in common that people take for the same: one case, one form of letters and spaces."""
    return " ".join(unicodedata.normalize("NFKC", label).casefold().replace("_", " ").split())


def number(value: Any, what: str) -> float:
    """Return the number in a JSON number or in a string.

    Raises:
        Fault: the value is neither, is not finite, or is larger than any real time or count.
    """
    try:
        result = math.nan if isinstance(value, bool) or not isinstance(value, (int, float, str)) else float(value)
    except (ValueError, OverflowError):
        result = math.nan
    if not abs(result) <= _MOST:  # also refuses NaN
        accepted = f"{_MOST:g} at most" if math.isfinite(result) else "finite numbers"
        raise Fault(f"{what} must be {accepted}, got {value!r:.80}")
    return result


def _positive(value: Any, what: str, video: str, notes: Notes) -> float | None:
    if value is None:
        return None
    result = number(value, what)
    if result < _LEAST:
        notes.add(f"videos whose {what} is not > 0, taken as unknown", f"{video}: {value!r:.40}")
        return None
    if what == "fps" and result > _MOST_FPS:
        notes.add(f"videos whose fps is more than {_MOST_FPS:g}, taken as unknown", f"{video}: {value!r:.40}")
        return None
    return result


def describe(segment: Segment) -> str:
    """Return the segment in a short form, for messages."""
    start, end = segment.segment
    return f"[{start:.6g}, {end:.6g}] {segment.label}"

"""From a file's own values to checked annotations: mends what is small, counts it, and refuses the rest."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pipeline.annotations.model import AMBIGUOUS, Annotations, VideoAnnotations
from pipeline.annotations.raw import RawAnnotations, RawSegment, RawVideo
from pipeline.errors import PipelineError
from pipeline.localization.segments import Segment

_RELATIVE_TOLERANCE = 0.01  # clocks of containers and annotation tools drift apart with the length of the video
_EXAMPLES = 3
_MOST, _LEAST = 1e12, 1e-6  # of seconds, frames and rates
_MOST_FPS = 1e6


class Notes:
    """Collects what was seen on the way, by kind, with a few examples each."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._examples: dict[str, list[str]] = defaultdict(list)

    def add(self, kind: str, example: str) -> None:
        self._counts[kind] += 1
        if len(self._examples[kind]) < _EXAMPLES:
            self._examples[kind].append(example)

    def total(self) -> int:
        return self._counts.total()

    def lines(self) -> tuple[str, ...]:
        """One line for each kind: the count, the kind, examples."""
        return tuple(
            f"{count} {kind if count > 1 else _singular(kind)} ("
            + "; ".join(self._examples[kind])
            + ("; …)" if count > _EXAMPLES else ")")
            for kind, count in self._counts.items()
        )


def _singular(kind: str) -> str:
    """The kind for one alone: its first word, and what refers to it, without the plural."""
    first, _, rest = kind.partition(" ")
    return f"{first.removesuffix('s')} {rest.replace('their ', 'its ')}"


class Fault(Exception):
    """A value that cannot be mended; the message names it and the remedy."""


def check(raw: RawAnnotations, *, source: str, tolerance_seconds: float = 0.5) -> Annotations:
    """Checked annotations from a file's own values.

    Args:
        source: names the file in messages.
        tolerance_seconds: a segment may overshoot its video by this much, or by 1 % of the duration where
            that is more; it is clipped then.

    Raises:
        PipelineError: values that cannot be mended; the first is named, the others are counted.
    """
    if not (math.isfinite(tolerance_seconds) and tolerance_seconds >= 0):
        raise PipelineError(f"tolerance_seconds must be >= 0, got {tolerance_seconds}")
    notes = Notes()
    faults: list[str] = []
    videos: dict[str, VideoAnnotations] = {}
    for raw_video in raw.videos:
        if raw_video.id in videos:
            faults.append(f"video {raw_video.id!r} appears twice; keep one of the two")
        try:
            videos[raw_video.id] = _video(raw_video, tolerance_seconds, notes, faults)
        except Fault as fault:
            faults.append(f"video {raw_video.id!r}: {fault}")
    raise_faults(faults, source=source)
    labels = _labels(raw, videos, notes)
    return Annotations(
        version=raw.version,
        videos=videos,
        labels=labels,
        problems=(*notes.lines(), *raw.losses),
        dialect=raw.dialect,
    )


def raise_faults(faults: list[str], *, source: str) -> None:
    """Raises one line for all ``faults``: the first of them and the number of the others.

    Raises:
        PipelineError: there are faults.
    """
    if faults:
        more = f" (and {len(faults) - 1} more faults in this file)" if len(faults) > 1 else ""
        raise PipelineError(f"annotations {source}: {faults[0]}{more}")


def _video(raw: RawVideo, tolerance_seconds: float, notes: Notes, faults: list[str]) -> VideoAnnotations:
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
            fitted = fit_segment(segment, duration, tolerance_seconds, video=raw.id, notes=notes)
        except Fault as fault:
            faults.append(f"video {raw.id!r}, segment {place}: {fault}")
            continue
        if fitted is not None:
            segments.append(fitted)
    segments.sort(key=lambda segment: segment.segment)
    for segment, count in Counter(segments).items():
        if count > 1:
            notes.add("segments given more than once, kept", f"{raw.id} {describe(segment)} × {count}")
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


def fit_segment(
    segment: Segment, duration: float | None, tolerance_seconds: float, *, video: str, notes: Notes
) -> Segment | None:
    """The segment inside its video, or None where nothing is left of it; what was mended goes to ``notes``.

    Raises:
        Fault: it lies outside by more than the tolerance.
    """
    tolerance = max(tolerance_seconds, _RELATIVE_TOLERANCE * (duration or 0.0))
    start, end = segment.segment
    last = math.inf if duration is None else duration
    over = max(-start, end - last)
    if over > tolerance:
        side = "starts before 0" if -start == over else f"ends after the video's duration, {last:g} s,"
        raise Fault(
            f"{[start, end]} {side} by {over:.3g} s, more than the {tolerance:.3g} s that are mended; correct the "
            "segment or the duration, or remove it (times are seconds; are these frames?)"
        )
    if over > 0:
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
        alike[name.casefold()].append(name)
    for same in alike.values():
        if len(same) > 1:
            notes.add("groups of labels that differ only in case, taken as classes of their own", " / ".join(same))
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


def number(value: Any, what: str) -> float:
    """A number from a JSON number or from a string that holds one.

    Raises:
        Fault: it is neither, not finite, or far beyond all times and counts.
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
    """The segment in few characters, for messages."""
    start, end = segment.segment
    return f"[{start:.6g}, {end:.6g}] {segment.label}"

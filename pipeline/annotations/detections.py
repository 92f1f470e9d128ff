"""Detections, as ActivityNet submissions: `{"version", "results": {id: [{"segment", "label", "score"}]}, ...}`."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pipeline.annotations.checking import number
from pipeline.annotations.content import Content
from pipeline.annotations.faults import Fault
from pipeline.annotations.raw import RawAnnotations, RawSegment, RawVideo
from pipeline.annotations.segments import Detection
from pipeline.errors import PipelineError
from pipeline.storage.atomic_files import write_json
from pipeline.storage.read_files import read_json

VERSION = "1.0"
DIALECT = "detections"
_SECONDS_DIGITS = 6  # a microsecond: finer than any frame, coarse enough to read
_SCORE_DIGITS = 9  # finer than float32 for all scores that matter


def read_detections(path: Path) -> dict[str, list[Detection]]:
    """Return the detections in `path` by video id, sorted by descending score (equal scores keep the file's order).

    Scores may be any finite numbers: other tools need not write probabilities. Numbers may be strings.

    Raises:
        PipelineError: the file is absent, is not a submission, or has a video's id twice; a segment is reversed or is
            not two finite numbers, a label is missing, or a score is not finite.
    """
    content = read_json(path, what="detections")
    results = content.get("results") if isinstance(content, dict) else None
    if not isinstance(results, dict):
        raise PipelineError(
            f'detections {path}: no "results" in it; expected '
            '{"results": {id: [{"segment": [start, end], "label", "score"}]}}'
        )
    detections = {}
    for video, items in results.items():
        if not isinstance(items, list):
            raise PipelineError(f"detections {path}: video {video!r} must have a list, got {items!r:.60}")
        parsed = [_parse(item, f"detections {path}: video {video!r}, detection {i}") for i, item in enumerate(items)]
        detections[video] = sorted(parsed, key=lambda detection: -detection.score)
    return detections


def recognizes(content: Content) -> bool:
    """Return whether a JSON value is a submission."""
    return isinstance(content.json, dict) and isinstance(content.json.get("results"), dict)


def translate(content: Content) -> RawAnnotations:
    """Return the detections as segments with scores, in the order of `read_detections`."""
    videos = [
        RawVideo(video, [RawSegment(found.segment, found.label, score=found.score) for found in items])
        for video, items in read_detections(content.path).items()
    ]
    return RawAnnotations(DIALECT, videos)


def read_external_data(path: Path) -> dict[str, Any]:
    """Return how a detections file was made (its `external_data`); empty if the file does not say."""
    content = read_json(path, what="detections")
    value = content.get("external_data") if isinstance(content, dict) else None
    return value if isinstance(value, dict) else {}


def write_detections(
    path: Path, detections: Mapping[str, Iterable[Detection]], *, extra: Mapping[str, Any] | None = None
) -> None:
    """Write `path` atomically, each video's detections by descending score (equal scores keep the given order).

    Args:
        detections: by video id; a video without any gets an empty list. Segments in seconds, rounded to a microsecond.
        extra: how the detections were made, saved as `external_data`.

    Raises:
        PipelineError: a score is not in [0, 1], a segment is reversed or not finite.
    """
    results = {}
    for video, items in detections.items():
        ordered = sorted(items, key=lambda detection: -_checked(detection, video).score)
        results[video] = [_as_json(detection) for detection in ordered]
    write_json(path, {"version": VERSION, "results": results, "external_data": dict(extra or {})})


def _parse(item: Any, where: str) -> Detection:
    if not isinstance(item, dict):
        raise PipelineError(f"{where}: must be an object, got {item!r:.60}")
    bounds, label = item.get("segment"), item.get("label")
    if not isinstance(bounds, list) or len(bounds) != 2:
        raise PipelineError(f"{where}: segment must be two numbers [start, end] in seconds, got {bounds!r:.60}")
    start, end = (_number(bound, "segment", where) for bound in bounds)
    if end < start:
        raise PipelineError(f"{where}: segment {[start, end]} ends before it starts")
    if isinstance(label, int) and not isinstance(label, bool):
        label = str(label)
    if not isinstance(label, str) or not label.strip():
        raise PipelineError(f"{where}: label must be a name, got {label!r:.60}")
    return Detection((start, end), label.strip(), _number(item.get("score"), "score", where))


def _number(value: Any, name: str, where: str) -> float:
    try:
        return number(value, name)
    except Fault as fault:
        raise PipelineError(f"{where}: {fault}") from None


def _checked(detection: Detection, video: str) -> Detection:
    start, end = detection.segment
    if not 0 <= detection.score <= 1:  # also refuses NaN
        raise PipelineError(f"detections: video {video!r}: score must be in [0, 1], got {detection.score}")
    if not (math.isfinite(start) and math.isfinite(end) and start <= end):
        raise PipelineError(f"detections: video {video!r}: segment must be finite and ordered, got {[start, end]}")
    return detection


def _as_json(detection: Detection) -> dict[str, Any]:
    # float(): heads return NumPy scalars, which JSON cannot represent.
    segment = [round(float(bound), _SECONDS_DIGITS) for bound in detection.segment]
    return {"segment": segment, "label": detection.label, "score": round(float(detection.score), _SCORE_DIGITS)}

"""The page's data for each video: its file, its ground truth, its detections.

The page lists all videos, and loads one video's times from a script of its own when a reader chooses it. So it opens
at once. Scripts, because pages opened from disk may run scripts beside them but not read files.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TypedDict

from pipeline.annotations.segments import Detection, Segment
from pipeline.report.facts import RunFacts
from pipeline.report.text import script_json

VIDEO_FOLDER = "videos"
_DIGITS = 3  # milliseconds


class VideoEntry(TypedDict):
    """A video in the list on the page.

    Keys:
        file: its script; None for a failed video.
        truth: number of segments by class index.
        best: best score by class index, of each way.
        failure: "kind: reason" of a failed video, otherwise None.
    """

    id: str
    file: str | None
    subset: str
    seconds: float | None
    rows: int
    truth: dict[int, int]
    best: dict[str, dict[int, float]]
    failure: str | None


def video_entries(facts: RunFacts) -> list[VideoEntry]:
    """Return an entry for each video, in the order of their ids."""
    places = class_places(facts)
    entries: list[VideoEntry] = []
    for number, video_id in enumerate(sorted({*facts.store.ids(), *facts.failures}), start=1):
        sidecar = facts.store.sidecar(video_id)
        failure = facts.failures.get(video_id)
        truth = _truth(facts, video_id)
        annotated = facts.annotations.videos.get(video_id) if facts.annotations else None
        entries.append(
            {
                "id": video_id,
                "file": f"{VIDEO_FOLDER}/{number}.js" if sidecar else None,
                "subset": annotated.subset if annotated else "",
                "seconds": round(sidecar["duration_seconds"], _DIGITS) if sidecar else None,
                "rows": sidecar["shape"][0] if sidecar else 0,
                "truth": _counts(truth, places),
                "best": {way: _best(found.get(video_id, []), places) for way, found in facts.detections.items()},
                "failure": f"{failure.get('kind')}: {failure.get('reason')}" if failure and not sidecar else None,
            }
        )
    return entries


def class_places(facts: RunFacts) -> dict[str, int]:
    """Return the index of each class: those of the annotations in order, then those that only detections have."""
    labels = list(facts.annotations.labels) if facts.annotations else []
    found = {d.label for videos in facts.detections.values() for items in videos.values() for d in items}
    return {label: place for place, label in enumerate([*labels, *sorted(found - set(labels))])}


def write_timelines(facts: RunFacts, out: Path, entries: list[VideoEntry], *, max_detections: int) -> None:
    """Write the script of each video into `out`.

    Args:
        facts: of the run.
        out: the report's folder.
        entries: of `video_entries`.
        max_detections: maximum for one video and way; the best are kept.
    """
    (out / VIDEO_FOLDER).mkdir(parents=True, exist_ok=True)
    for old in (out / VIDEO_FOLDER).glob("*.js"):
        old.unlink()
    places = class_places(facts)
    for entry in entries:
        if entry["file"] is None:
            continue
        video_id = entry["id"]
        sidecar = facts.store.sidecar(video_id) or {}
        value = {
            "id": video_id,
            "address": _address(sidecar.get("source", {}).get("path"), out),
            "truth": [_item(segment, places) for segment in _truth(facts, video_id)],
            "found": {
                way: [[*_item(d, places), round(d.score, 4)] for d in found.get(video_id, [])[:max_detections]]
                for way, found in facts.detections.items()
            },
        }
        (out / entry["file"]).write_text(f"showVideo({script_json(value)});\n", encoding="utf-8")


def _address(path: str | None, out: Path) -> str | None:
    """Return the video's address for the page: relative if both lie in one place, so that they can move together."""
    if path is None:
        return None
    video, page = Path(path), out.resolve()
    shared = Path(os.path.commonpath([video, page])) if video.is_absolute() else page
    if shared == Path(shared.anchor):
        return video.as_uri()
    steps = Path(os.path.relpath(video, page)).parts
    return "/".join(".." if step == ".." else Path("/", step).as_uri().removeprefix("file:///") for step in steps)


def _truth(facts: RunFacts, video_id: str) -> tuple[Segment, ...]:
    annotated = facts.annotations.videos.get(video_id) if facts.annotations else None
    return tuple(annotated.segments) if annotated else ()


def _item(item: Segment | Detection, places: Mapping[str, int]) -> list[float]:
    """Return [start, end, class index], with times in seconds."""
    start, end = item.segment
    return [round(start, _DIGITS), round(end, _DIGITS), places[item.label]]


def _counts(segments: tuple[Segment, ...], places: Mapping[str, int]) -> dict[int, int]:
    counts: dict[int, int] = {}
    for segment in segments:
        counts[places[segment.label]] = counts.get(places[segment.label], 0) + 1
    return counts


def _best(detections: list[Detection], places: Mapping[str, int]) -> dict[int, float]:
    """Return the best score of each class; `detections` are in descending order of score."""
    best: dict[int, float] = {}
    for detection in detections:
        best.setdefault(places[detection.label], round(detection.score, 4))
    return best

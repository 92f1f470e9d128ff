"""The page's data for each video: its file, its ground truth, its detections.

The page lists all videos, and loads one video's times from a script of its own when a reader chooses it. So it opens
at once. Scripts, because pages opened from disk may run scripts beside them but not read files.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from pipeline.annotations.segments import Detection, Segment
from pipeline.report.content import VideoEntry, VideoTimes
from pipeline.report.facts import ReportFacts
from pipeline.report.media import Media
from pipeline.report.text import script_json

VIDEO_FOLDER = "videos"
_DIGITS = 3  # milliseconds


def video_entries(facts: ReportFacts, media: Mapping[str, Media]) -> list[VideoEntry]:
    """Return an entry for each video, in the order of the facts."""
    places = {label: place for place, label in enumerate(facts.labels())}
    entries: list[VideoEntry] = []
    for number, video in enumerate(facts.videos, start=1):
        seconds = _seconds(facts, video.id, video.seconds or media.get(video.id, Media()).seconds)
        entries.append(
            {
                "id": video.id,
                "file": None if video.failure or seconds is None else f"{VIDEO_FOLDER}/{number}.js",
                "strip": media.get(video.id, Media()).strip,
                "subset": facts.subset(video.id),
                "seconds": None if seconds is None else round(seconds, _DIGITS),
                "rows": video.rows,
                "annotated": facts.annotations is not None and video.id in facts.annotations.videos,
                "truth": _counts(facts.truth(video.id), places),
                "best": {way: _best(found.get(video.id, []), places) for way, found in facts.detections.items()},
                "seen": video.seen_in_training,
                "failure": video.failure or (None if seconds is not None else "its duration is not known"),
            }
        )
    return entries


def _seconds(facts: ReportFacts, video_id: str, known: float | None) -> float | None:
    """Return the duration, or else the end of the last segment or detection; None if there is none."""
    if known:
        return known
    found = [d.segment[1] for way in facts.detections.values() for d in way.get(video_id, ())]
    return max([*found, *(segment.segment[1] for segment in facts.truth(video_id))], default=0.0) or None


def write_timelines(
    facts: ReportFacts, out: Path, entries: list[VideoEntry], media: Mapping[str, Media], *, max_detections: int
) -> None:
    """Write the script of each video into `out`.

    Args:
        facts: of the report.
        out: the report's folder.
        entries: of `video_entries`.
        media: of `make_media`.
        max_detections: maximum for one video and way; the best are kept.
    """
    (out / VIDEO_FOLDER).mkdir(parents=True, exist_ok=True)
    for old in (out / VIDEO_FOLDER).glob("*.js"):
        old.unlink()
    places = {label: place for place, label in enumerate(facts.labels())}
    for video, entry in zip(facts.videos, entries, strict=True):
        if entry["file"] is None:
            continue
        made = media.get(video.id, Media())
        value: VideoTimes = {
            "id": video.id,
            "address": made.copy or _address(video.path, out),
            "note": made.note,
            "copied": bool(made.copy),
            "truth": [_item(segment, places) for segment in facts.truth(video.id)],
            "found": {
                way: [[*_item(d, places), round(d.score, 4)] for d in found.get(video.id, [])[:max_detections]]
                for way, found in facts.detections.items()
            },
        }
        (out / entry["file"]).write_text(f"showVideo({script_json(value)});\n", encoding="utf-8")


def _address(path: Path | None, out: Path) -> str | None:
    """Return the video's address for the page: relative if both lie in one place, so that they can move together."""
    if path is None:
        return None
    video, page = path.absolute(), out.resolve()
    shared = Path(os.path.commonpath([video, page]))
    if shared == Path(shared.anchor):
        return video.as_uri()
    steps = Path(os.path.relpath(video, page)).parts
    return "/".join(".." if step == ".." else Path("/", step).as_uri().removeprefix("file:///") for step in steps)


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

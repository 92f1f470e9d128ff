"""Ego4D: the JSON files of Moments Queries (`moments_….json`) and Natural Language Queries (`nlq_….json`).

Times are those of the whole videos, whose ids are `video_uid`. The label of a moment is its class; the label of a query
is its template ("Objects: Where is object X?"), since every query is a sentence of its own.

Source: https://ego4d-data.org/docs/data/annotations-schemas.
"""

from __future__ import annotations

from typing import Any

from pipeline.annotations.content import Content
from pipeline.annotations.raw import RawAnnotations
from pipeline.annotations.tools.gather import Gather
from pipeline.annotations.tools.parts import objects_in

_SUBSETS = {"train": "training", "val": "validation", "test": "testing"}


def recognizes(content: Content) -> bool:
    """Return whether a JSON value has a list of videos with `video_uid`."""
    videos = content.json.get("videos") if isinstance(content.json, dict) else None
    return isinstance(videos, list) and bool(videos) and isinstance(videos[0], dict) and "video_uid" in videos[0]


def translate(content: Content) -> RawAnnotations:
    """Return the moments and queries of a file."""
    found = Gather("ego4d")
    for where, video in objects_in(content.json, "videos", "", found):
        name = video.get("video_uid")
        if not isinstance(name, str) or not name:
            found.fault(where, f"video_uid must be a name, got {name!r:.80}")
            continue
        split = video.get("split", content.json.get("split"))
        found.video(name, subset=_SUBSETS.get(split, split) if isinstance(split, str) else None)
        for clip_where, clip in objects_in(video, "clips", where, found):
            for part_where, annotation in objects_in(clip, "annotations", clip_where, found):
                _annotation(found, name, part_where, annotation)
    return found.result()


def _annotation(found: Gather, video: str, where: str, annotation: dict[str, Any]) -> None:
    for place, label in objects_in(annotation, "labels", where, found):
        if label.get("primary") is False:
            found.leave_out("label", "not marked as primary")
            continue
        bounds = label.get("video_start_time"), label.get("video_end_time")
        found.segment(video, bounds, label.get("label"), where=place)
    for place, query in objects_in(annotation, "language_queries", where, found):
        bounds = query.get("video_start_sec"), query.get("video_end_sec")
        if None in bounds:
            found.leave_out("sentence", "without times")
            continue
        found.segment(video, bounds, query.get("template") or query.get("query"), where=place)

"""The ActivityNet dialect and its variants: `{"database": {id: {..., "annotations": [{"segment", "label"}]}}}`.

HACS writes durations as strings. Conversions of THUMOS14 write segment times as strings, or no durations.
ActionFormer adds `fps` and an integer `label_id`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from typing import Any

from pipeline.annotations.content import Content
from pipeline.annotations.raw import RawAnnotations, RawSegment, RawVideo
from pipeline.errors import PipelineError
from pipeline.text.plain import counted

_FILE_FIELDS = frozenset({"version", "database"})
_VIDEO_FIELDS = frozenset({"subset", "duration", "fps", "frame", "annotations"})
_SEGMENT_FIELDS = frozenset({"segment", "label", "label_id"})
_THUMOS_ID = re.compile(r"video_(test|validation)_\d+")


def recognizes(content: Content) -> bool:
    """Return whether a JSON value has a database of videos."""
    return isinstance(content.json, dict) and "database" in content.json


def translate_content(content: Content) -> RawAnnotations:
    """Return the file's values, as `translate` does."""
    return translate(content.json, source=str(content.path))


def translate(content: dict[str, Any], *, source: str) -> RawAnnotations:
    """Return the file's values; fields that `Annotations` cannot hold are listed as losses.

    Raises:
        PipelineError: the database is not an object of objects, or annotations are not a list of objects.
    """
    database = content["database"]
    if not isinstance(database, dict):
        raise PipelineError(f'annotations {source}: "database" must be an object of videos by id, got {kind(database)}')
    videos = [_video(name, entry, source) for name, entry in database.items()]
    version = content.get("version")
    return RawAnnotations(
        dialect=_dialect(database),
        videos=videos,
        version="" if version is None else str(version),
        losses=_losses(content, database),
    )


def _video(name: str, entry: Any, source: str) -> RawVideo:
    if not isinstance(entry, dict):
        raise PipelineError(f"annotations {source}: video {name!r} must be an object, got {kind(entry)}")
    return RawVideo(
        id=name,
        segments=raw_segments(name, entry, source),
        subset=entry.get("subset"),
        duration=entry.get("duration"),
        fps=entry.get("fps"),
        frames=entry.get("frame"),
    )


def raw_segments(name: str, entry: dict[str, Any], source: str) -> list[RawSegment]:
    """Return the segments of a video's entry; none if it has no list (videos of a withheld test set).

    Raises:
        PipelineError: "annotations" is not a list of objects.
    """
    items = entry.get("annotations")
    if items is None:
        return []
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise PipelineError(f'annotations {source}: "annotations" of video {name!r} must be a list of objects')
    return [RawSegment(item.get("segment"), item.get("label"), item.get("label_id")) for item in items]


def _dialect(database: dict[str, Any]) -> str:
    entries = list(database.values())
    segments = (item for entry in entries for item in entry.get("annotations") or ())
    if any("label_id" in item for item in segments):
        return "actionformer"
    if entries and all(_THUMOS_ID.fullmatch(name) for name in database):
        return "thumos14"
    if entries and all(isinstance(entry.get("duration"), str) for entry in entries):
        return "hacs"
    return "activitynet"


def _losses(content: dict[str, Any], database: dict[str, Any]) -> tuple[str, ...]:
    lines = [f"the file's field {name!r} is not kept" for name in content if name not in _FILE_FIELDS]
    lines += lost_fields(database.values(), _VIDEO_FIELDS, "video")
    segments = (item for entry in database.values() for item in entry.get("annotations") or ())
    return (*lines, *lost_fields(segments, _SEGMENT_FIELDS, "segment"))


def lost_fields(objects: Iterable[dict[str, Any]], kept: frozenset[str], what: str) -> list[str]:
    """Return one line for each field that is not kept: how many objects have it, and its name."""
    counts = Counter(name for item in objects for name in item if name not in kept)
    return [
        f"{counted(count, what, 'has', 'have')} a field {name!r}, which is not kept"
        for name, count in sorted(counts.items())
    ]


def kind(value: Any) -> str:
    """Return a short description of a JSON value, for messages."""
    return "nothing" if value is None else f"{type(value).__name__} {value!r:.40}"

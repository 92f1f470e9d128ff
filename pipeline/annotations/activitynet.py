"""The ActivityNet dialect, which the project writes and most of the field reads."""

from __future__ import annotations

from typing import Any

from pipeline.annotations.raw import RawAnnotations, RawSegment, RawVideo
from pipeline.errors import PipelineError


def translate(content: dict[str, Any], *, source: str) -> RawAnnotations:
    """The content of ``{"version", "database": {id: {"subset", "duration", "annotations": [...]}}}``.

    Raises:
        PipelineError: the database is no object of objects, or annotations are no list of objects.
    """
    database = content["database"]
    if not isinstance(database, dict):
        found = _kind(database)
        raise PipelineError(f'annotations {source}: "database" must be an object of videos by id, got {found}')
    version = content.get("version", "")
    return RawAnnotations(
        dialect="activitynet",
        videos=[_video(name, entry, source) for name, entry in database.items()],
        version="" if version is None else str(version),
    )


def _video(name: str, entry: Any, source: str) -> RawVideo:
    if not isinstance(entry, dict):
        raise PipelineError(f"annotations {source}: video {name!r} must be an object, got {_kind(entry)}")
    return RawVideo(
        id=name,
        segments=raw_segments(name, entry, source),
        subset=entry.get("subset"),
        duration=entry.get("duration"),
        fps=entry.get("fps"),
        frames=entry.get("frame"),
    )


def raw_segments(name: str, entry: dict[str, Any], source: str) -> list[RawSegment]:
    """The segments of a video's entry; none where it has no list (videos of a withheld test set).

    Raises:
        PipelineError: "annotations" is no list of objects.
    """
    items = entry.get("annotations")
    if items is None:
        return []
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise PipelineError(f'annotations {source}: "annotations" of video {name!r} must be a list of objects')
    return [RawSegment(item.get("segment"), item.get("label"), item.get("label_id")) for item in items]


def _kind(value: Any) -> str:
    return "nothing" if value is None else f"{type(value).__name__} {value!r:.40}"

"""Label Studio: the exports JSON and JSON-MIN of video time lines (`TimelineLabels`), and of sound beside a video.

A range of a time line counts frames from 1 and includes its last one; the frames are those of the rate in the labeling
configuration (`frameRate` of `<Video>`), which the export does not tell unless the task's data has it as `fps`.
Labels of sound (`Labels` on `<Audio>`) are seconds. Of several annotations of a task the first is taken.

Source: https://labelstud.io/tags/timelinelabels, /tags/video, /tags/labels and /guide/export (raw JSON of tasks with
`data` and `annotations[].result[]`; JSON-MIN: a field a tag).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pipeline.annotations.content import Content
from pipeline.annotations.raw import RawAnnotations
from pipeline.annotations.tools.gather import Gather
from pipeline.annotations.tools.names import is_media, video_id_of
from pipeline.annotations.tools.parts import objects, objects_in

_VIDEO_FIELDS = ("video", "video_url", "url", "audio")
_RATES = ("fps", "frameRate", "framerate", "frame_rate")
_OF_TASKS = ("annotations", "completions", "predictions")
_OWN = frozenset(("id", "annotator", "annotation_id", "created_at", "updated_at", "lead_time"))


def recognizes(content: Content) -> bool:
    """Return whether a JSON value is a list of Label Studio's tasks."""
    if not isinstance(content.json, list) or not content.json or not isinstance(content.json[0], dict):
        return False
    first = content.json[0]
    whole = isinstance(first.get("data"), dict) and any(name in first for name in _OF_TASKS)
    return whole or ("annotation_id" in first and "id" in first)


def translate(content: Content) -> RawAnnotations:
    """Return the segments of all tasks."""
    found = Gather("label-studio")
    for where, task in objects(content.json, "", found):
        place = where.lstrip("/")
        whole = task.get("data")
        data: dict[str, Any] = whole if isinstance(whole, dict) else task
        name = _media(data)
        if name is None:
            found.fault(place, f"no field of its data names a video; expected one of {', '.join(_VIDEO_FIELDS)}")
            continue
        video = video_id_of(name)
        if not video:
            found.fault(place, f"{name!r:.60} names no video")
            continue
        found.video(video, fps=next((data[rate] for rate in _RATES if rate in data), None))
        results = _results(task, place, found) if data is not task else _fields(task, place, found)
        for at, value in results:
            _segments(found, video, at, value)
    return found.result()


def _media(data: dict[str, Any]) -> str | None:
    """Return the path or URL of the task's video."""
    texts = {name: value for name, value in data.items() if isinstance(value, str) and value.strip()}
    named = [texts[name] for name in _VIDEO_FIELDS if name in texts]
    return next(iter([*named, *(text for text in texts.values() if is_media(text))]), None)


def _results(task: dict[str, Any], place: str, found: Gather) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the values of the task's first annotation that was not canceled, with their places."""
    key = "annotations" if task.get("annotations") is not None else "completions"
    made = [
        (where, annotation)
        for where, annotation in objects_in(task, key, place, found)
        if not annotation.get("was_cancelled")
    ]
    if not made:
        found.leave_out("task", "that nobody has annotated")
        return
    for _ in made[1:]:
        found.leave_out("further annotation", "of the same task")
    for where, result in objects_in(made[0][1], "result", made[0][0], found):
        if isinstance(result.get("value"), dict):
            length = result.get("original_length")
            yield f"{where}/value", {"length": length, **result["value"]}


def _fields(task: dict[str, Any], place: str, found: Gather) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the values of a task of JSON-MIN."""
    for name, value in task.items():
        if name not in _OWN and isinstance(value, list) and value and isinstance(value[0], dict):
            yield from objects(value, f"{place}/{name}", found)


def _segments(found: Gather, video: str, where: str, value: dict[str, Any]) -> None:
    labels = value.get("timelinelabels", value.get("labels"))
    if not isinstance(labels, list) or "sequence" in value:
        found.video(video, frames=_count(value.get("framesCount")), duration=_count(value.get("duration")))
        found.leave_out("result", "other than stretches of time")
        return
    found.video(video, duration=_count(value.get("length")))
    for label in labels or [""]:
        if "ranges" not in value:
            found.segment(video, (value.get("start"), value.get("end")), label, where=where)
            continue
        for place, part in objects_in(value, "ranges", where, found):
            first, last = _count(part.get("start")), _count(part.get("end"))
            if first is None or last is None:
                found.fault(place, f"start and end must be frames, got {part!r:.60}")
                continue
            found.segment(video, (max(first - 1, 0), last), label, where=place, in_frames=True)


def _count(value: Any) -> float | None:
    """Return a number that counts frames or seconds; None for anything else."""
    sound = isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < 1e12
    return value if sound else None

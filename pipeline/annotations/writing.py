"""Write annotations in the ActivityNet dialect."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipeline.annotations.model import Annotations, VideoAnnotations
from pipeline.storage.atomic_files import write_json


def write_annotations(path: Path, annotations: Annotations) -> None:
    """Write `path` atomically; reading it gives the same videos, segments and class indices."""
    label_ids = {label: place for place, label in enumerate(annotations.labels)}
    database = {name: video_entry(video, label_ids) for name, video in annotations.videos.items()}
    write_json(path, {"version": annotations.version, "database": database})


def video_entry(video: VideoAnnotations, label_ids: dict[str, int]) -> dict[str, Any]:
    """Return a video's entry in the database, without unknown values; ambiguous segments have no `label_id`."""
    known = {"subset": video.subset, "duration": video.duration, "frame": video.frames, "fps": video.fps}
    entry: dict[str, Any] = {key: value for key, value in known.items() if value not in (None, "")}
    segments = sorted((*video.segments, *video.ambiguous), key=lambda segment: segment.segment)
    entry["annotations"] = []
    for segment in segments:
        item: dict[str, Any] = {"segment": list(segment.segment), "label": segment.label}
        if segment.label in label_ids:
            item["label_id"] = label_ids[segment.label]
        entry["annotations"].append(item)
    return entry

"""Write a project of BORIS (`.boris`): an observation for each video, a state event for each label.

BORIS pairs the events of one behavior and subject one after the other. Where segments of a label overlap or touch, the
later one gets a subject of its own ("2", "3", …), so that each start finds its own stop.
"""

from __future__ import annotations

import string
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipeline.annotations.segments import Segment
from pipeline.annotations.tools.labeled import Video, labels_of, lanes
from pipeline.storage.atomic_files import write_json

_DATE = "1970-01-01T00:00:00"  # equal labels give equal files
_PLAYERS = 8


def write(path: Path, videos: Sequence[Video]) -> None:
    """Write all videos into one project; times are rounded to milliseconds."""
    labels = labels_of(videos)
    observations = {video.id: _observation(video, labels) for video in videos}
    subjects = sorted({event[1] for one in observations.values() for event in one["events"]} - {""}, key=int)
    keys = string.ascii_lowercase + string.digits
    write_json(
        path,
        {
            "time_format": "hh:mm:ss",
            "project_date": _DATE,
            "project_name": "detections",
            "project_description": "written by sola-pipeline",
            "project_format_version": "7.0",
            "subjects_conf": {str(i): {"key": "", "name": n, "description": ""} for i, n in enumerate(subjects)},
            "behaviors_conf": {
                str(i): {
                    "type": "State event",
                    "key": keys[i] if i < len(keys) else "",
                    "code": label,
                    "description": "",
                    "category": "",
                    "modifiers": {},
                    "excluded": "",
                    "coding map": "",
                }
                for i, label in enumerate(labels)
            },
            "observations": observations,
            "behavioral_categories": [],
            "independent_variables": {},
            "coding_map": {},
            "behaviors_coding_map": [],
            "converters": {},
        },
    )


def _observation(video: Video, labels: Sequence[str]) -> dict[str, Any]:
    media = video.facts.path if video.facts else video.id
    known = {"length": {media: video.facts.seconds}, "fps": {media: video.facts.fps}} if video.facts else {}
    return {
        "file": {str(player): [media] if player == 1 else [] for player in range(1, _PLAYERS + 1)},
        "type": "MEDIA",
        "date": _DATE,
        "description": "",
        "time offset": 0.0,
        "events": _events(video, labels),
        "observation time interval": [0, 0],
        "independent_variables": {},
        "visualize_spectrogram": False,
        "visualize_waveform": False,
        "close_behaviors_between_videos": False,
        "media_info": {
            "length": {},
            "fps": {},
            **known,
            "hasVideo": {media: True},
            "hasAudio": {media: False},
            "offset": {"1": 0.0},
        },
    }


def _events(video: Video, labels: Sequence[str]) -> list[list[Any]]:
    """Return the starts and stops by time: [seconds, subject, behavior, modifiers, comment]."""
    events: list[list[Any]] = []
    for label in labels:
        rounded = [_rounded(*item.segment, label) for item in video.items if item.label == label]
        for lane, item in lanes(rounded, apart=True):
            subject = "" if lane == 0 else str(lane + 1)
            events += [[bound, subject, label, "", ""] for bound in item.segment]
    return sorted(events, key=lambda event: event[0])


def _rounded(start: float, end: float, label: str) -> Segment:
    first = max(0, round(1000 * start))
    return Segment((first / 1000, max(first + 1, round(1000 * end)) / 1000), label)

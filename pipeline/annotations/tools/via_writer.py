"""Write a project of VIA 3 (JSON): open it in VIA's video annotator, then choose the videos, which it finds by name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipeline.annotations.tools.labeled import Video, labels_of
from pipeline.storage.atomic_files import write_json

_ATTRIBUTE = "1"
_VIDEO, _LOCAL, _SELECT = 4, 1, 4  # VIA's numbers for a file's type, its place, and a list of options


def write(path: Path, videos: Sequence[Video]) -> None:
    """Write all videos into one project; the labels are the options of the attribute on the time line."""
    keys = {video.id: str(number) for number, video in enumerate(videos, start=1)}
    metadata: dict[str, Any] = {}
    for video in videos:
        for number, item in enumerate(video.items):
            times = [round(float(bound), 6) for bound in item.segment]
            entry = {"vid": keys[video.id], "flg": 0, "z": times, "xy": [], "av": {_ATTRIBUTE: item.label}}
            metadata[f"{keys[video.id]}_{number:08d}"] = entry
    options = {label: label for label in labels_of(videos)}
    files = {
        key: {"fid": key, "fname": video.name(), "type": _VIDEO, "loc": _LOCAL, "src": ""}
        for key, video in zip(keys.values(), videos, strict=True)
    }
    write_json(
        path,
        {
            "project": _project(list(keys.values())),
            "config": _config(),
            "attribute": {
                _ATTRIBUTE: {
                    "aname": "TEMPORAL-SEGMENTS",
                    "anchor_id": "FILE1_Z2_XY0",
                    "type": _SELECT,
                    "desc": "actions",
                    "options": options,
                    "default_option_id": "",
                }
            },
            "file": files,
            "metadata": metadata,
            "view": {key: {"fid_list": [key]} for key in keys.values()},
        },
    )


def _project(views: list[str]) -> dict[str, Any]:
    """Return the head of a project that was never saved to a server."""
    return {
        "pid": "__VIA_PROJECT_ID__",
        "rev": "__VIA_PROJECT_REV_ID__",
        "rev_timestamp": "__VIA_PROJECT_REV_TIMESTAMP__",
        "pname": "detections",
        "creator": "sola-pipeline",
        "created": 0,
        "vid_list": views,
    }


def _config() -> dict[str, Any]:
    return {
        "file": {"loc_prefix": {"1": "", "2": "", "3": "", "4": ""}},
        "ui": {
            "file_content_align": "center",
            "file_metadata_editor_visible": True,
            "spatial_metadata_editor_visible": True,
            "temporal_segment_metadata_editor_visible": True,
            "spatial_region_label_attribute_id": "",
            "gtimeline_visible_row_count": "4",
        },
    }

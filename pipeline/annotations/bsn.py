"""The dialect of BSN and its successors (BMN, G-TAD, DBG) for ActivityNet.

`{id: {"duration_second", "duration_frame", "feature_frame", "annotations": [{"segment", "label"}]}}`; the subsets
are in a second file, `video_info_new.csv`.
"""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

from pipeline.annotations.activitynet import lost_fields, raw_segments
from pipeline.annotations.content import Content
from pipeline.annotations.raw import RawAnnotations, RawVideo
from pipeline.errors import PipelineError
from pipeline.storage.read_files import read_text
from pipeline.text.plain import counted

SUBSETS_NAME = "video_info_new.csv"
_FIELDS = frozenset({"duration_second", "duration_frame", "annotations", "subset"})


def recognizes(content: Any) -> bool:
    """Return whether a JSON value is an object of videos in this dialect."""
    return (
        isinstance(content, dict)
        and bool(content)
        and all(isinstance(entry, dict) and "duration_second" in entry for entry in content.values())
    )


def recognizes_content(content: Content) -> bool:
    """Return whether a file is in this dialect."""
    return recognizes(content.json)


def translate_content(content: Content) -> RawAnnotations:
    """Return the file's values, with the subsets of the CSV file beside it."""
    return translate(content.json, source=str(content.path), subsets=content.path.with_name(SUBSETS_NAME))


def translate(content: dict[str, dict[str, Any]], *, source: str, subsets: Path) -> RawAnnotations:
    """Return the file's values, with the subsets from the CSV file `subsets` if it exists.

    Raises:
        PipelineError: annotations are not a list of objects, or the CSV file lacks the columns video and subset.
    """
    by_video = _read_subsets(subsets) if subsets.exists() else {}
    videos = [
        RawVideo(
            id=name,
            segments=raw_segments(name, entry, source),
            subset=entry.get("subset", by_video.get(name)),
            duration=entry["duration_second"],
            frames=entry.get("duration_frame"),
        )
        for name, entry in content.items()
    ]
    losses = lost_fields(content.values(), _FIELDS, "video")
    unknown = sum(video.subset is None for video in videos)
    if unknown:
        losses.append(
            f"{counted(unknown, 'video', 'has', 'have')} no subset: this dialect keeps them in {SUBSETS_NAME} beside "
            "the file"
        )
    return RawAnnotations(dialect="bsn", videos=videos, losses=tuple(losses))


def _read_subsets(path: Path) -> dict[str, str]:
    try:
        lines = io.StringIO(read_text(path, what="annotations"), newline="")
        rows = [(row["video"], row["subset"]) for row in csv.DictReader(lines)]
    except KeyError as error:
        raise PipelineError(f"annotations: {path} must have the columns video and subset, but lacks {error}") from None
    except csv.Error as error:
        raise PipelineError(f"annotations: cannot read {path}: {error}") from None
    subsets = dict(rows)
    if odd := [video for video, subset in rows if subset != subsets[video]]:
        raise PipelineError(f"annotations: {path} puts {odd[0]!r} into two subsets; keep one of the two")
    return subsets

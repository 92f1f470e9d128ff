"""Write a table of segments: `video,start,end,label`, and `score` for detections."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path

from pipeline.annotations.segments import Detection
from pipeline.annotations.tools.labeled import Video
from pipeline.storage.atomic_files import write_text

COLUMNS = ("video", "start", "end", "label", "score")
_SECONDS_DIGITS = 6
_SCORE_DIGITS = 9


def write(path: Path, videos: Sequence[Video]) -> None:
    """Write the table: times in seconds, rounded to a microsecond. Videos without segments have no line."""
    has_scores = any(isinstance(item, Detection) for video in videos for item in video.items)
    rows: list[tuple[object, ...]] = []
    for video in videos:
        for item in video.items:
            times = (round(float(bound), _SECONDS_DIGITS) for bound in item.segment)
            score = (round(float(item.score), _SCORE_DIGITS),) if isinstance(item, Detection) else ()
            rows.append((video.id, *times, item.label, *score))
    write_text(path, table(COLUMNS if has_scores else COLUMNS[:4], rows))


def table(columns: Sequence[str], rows: Iterable[Iterable[object]]) -> str:
    """Return a table as CSV."""
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow(columns)
    lines.writerows(rows)
    return text.getvalue()

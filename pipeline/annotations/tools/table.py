"""Tables of segments, one a line: `video,start,end,label`, as spreadsheets and scripts write them.

Columns are found by their names, in any order; a table without names has them in this order. They are separated by
commas, semicolons or tabs. Times are seconds, `mm:ss.s` or `hh:mm:ss.s`; columns `start_frame` and `end_frame` count
frames from 0. A video is an id, or a file's name or path.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator

from pipeline.annotations.content import Content
from pipeline.annotations.raw import RawAnnotations
from pipeline.annotations.tools.gather import Gather
from pipeline.annotations.tools.names import is_media, seconds_of, video_id_of

_NAMES = {
    "video": "video videoid videoname file filename filepath path media clip name id youtubeid",
    "start": "start starttime tstart begin begintime from onset starts startseconds startsec startsecond startframe",
    "end": "end endtime tend stop stoptime to offset ends endseconds endsec endsecond stopseconds finish endframe",
    "label": "label labels class classname action activity behavior behaviour event category annotation",
    "subset": "subset split set partition",
    "score": "score confidence",
}
# By a column's plain name: the column, and how sure the name is, 0 for the surest.
_COLUMN = {name: (column, rank) for column, names in _NAMES.items() for rank, name in enumerate(names.split())}
_NEEDED = ("video", "start", "end", "label")
_LONGEST_CELL = 1 << 20
_SCORES = "scores are not kept: every line counts, whatever its score (`annotations --min-score` takes the sure ones)"

Row = tuple[int, list[str]]


def recognizes(content: Content) -> bool:
    """Return whether a text is a table of segments."""
    return _columns(content.lines) is not None


def translate(content: Content) -> RawAnnotations:
    """Return the segments of a table."""
    found, columns = Gather("csv"), _columns(content.lines)
    assert columns is not None, "recognized before"
    other: set[str] = set()
    lines, in_frames = rows(content.lines), False
    if isinstance(_header(content.lines), dict):
        _, names = next(lines)
        other = {name.strip() for place, name in enumerate(names) if place not in columns.values() and name.strip()}
        in_frames = {"startframe", "endframe"} <= {plain_name(names[columns[name]]) for name in ("start", "end")}
    for line, cells in lines:
        where = f"line {line}"
        if len(cells) <= max(columns[name] for name in _NEEDED):
            found.fault(where, f"expected {len(columns)} columns, got {', '.join(cells)!r:.80}")
            continue
        value = {name: cells[place].strip() if place < len(cells) else "" for name, place in columns.items()}
        if not value["video"]:
            found.fault(where, f"no video is named in {', '.join(cells)!r:.80}")
            continue
        video = video_id_of(value["video"]) if is_media(value["video"]) else value["video"]
        found.video(video, subset=value.get("subset") or None)
        if not (value["start"] or value["end"] or value["label"]):
            continue  # a video without segments
        bounds = seconds_of(value["start"]), seconds_of(value["end"])
        if in_frames and any(isinstance(bound, str) for bound in bounds):
            found.fault(where, f"start and end must be frames, got {value['start']!r:.30} and {value['end']!r:.30}")
            continue
        score = value.get("score") or None
        found.segment(video, bounds, value["label"], where=where, score=score, in_frames=in_frames)
    notes = [f"the columns {', '.join(sorted(other))} are not kept"] if other else []
    return found.result(*notes, *([_SCORES] if "score" in columns else []))


def rows(lines: list[str]) -> Iterator[Row]:
    """Yield the rows of a table and their first lines; blank lines and lines that start with # are left out."""
    csv.field_size_limit(_LONGEST_CELL)
    reader = csv.reader(_kept(lines), delimiter=separator(lines), skipinitialspace=True)
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error:
            yield line, ["a cell that cannot be read"]
            continue
        if any(cell.strip() for cell in cells):
            yield line, cells


def _kept(lines: list[str]) -> Iterator[str]:
    """Yield the lines; one that cannot stand in a table is emptied, so that the numbers stay right."""
    for line in lines:
        yield "\n" if line.startswith("#") or "\0" in line else line + "\n"


def separator(lines: list[str]) -> str:
    """Return what separates the columns: the character of tab, semicolon and comma that the first row has most of."""
    first = next((line for line in lines if line.strip() and not line.startswith("#")), "")
    counts = {mark: first.count(mark) for mark in ("\t", ";", ",")}
    return max(counts, key=lambda mark: counts[mark]) if any(counts.values()) else ","


def plain_name(name: str) -> str:
    """Return a column's name without case, blanks, marks and unit: `Start (s)` and `start_s` are `start`."""
    words = re.findall(r"[a-z]+", name.lower())
    return "".join(words[:-1] if len(words) > 1 and words[-1] in ("s", "sec", "seconds", "secs") else words)


def _header(lines: list[str]) -> dict[str, int] | list[str] | None:
    """Return the places of the columns if the first row names them, else that row, or None without rows."""
    first = next(rows(lines), None)
    if first is None:
        return None
    named = [(*_COLUMN[plain], place) for place, name in enumerate(first[1]) if (plain := plain_name(name)) in _COLUMN]
    columns = {column: place for column, _, place in sorted(named, reverse=True)}  # the surest name comes last
    return columns if all(name in columns for name in _NEEDED) else first[1]


def _columns(lines: list[str]) -> dict[str, int] | None:
    found = _header(lines)
    if found is None or isinstance(found, dict):
        return found
    if len(found) < len(_NEEDED) or any(isinstance(seconds_of(found[place]), str) for place in (1, 2)):
        return None
    return {name: place for place, name in enumerate(_NEEDED)} | ({"score": 4} if len(found) == 5 else {})

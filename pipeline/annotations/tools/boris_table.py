"""BORIS: its exports of events as CSV or TSV, tabular (a start or a stop a line) and aggregated (a state a line).

State events are segments; point events are counted and left out. A tabular export of older versions has a head about
the observation before its columns.

Source: https://www.boris.unito.it/user_guide/export_events/ and `tests/files/` of
https://github.com/olivierfriard/BORIS (test_export_events_tabular, test_export_aggregated_events).
"""

from __future__ import annotations

from pipeline.annotations.content import Content
from pipeline.annotations.raw import RawAnnotations
from pipeline.annotations.tools.gather import Gather
from pipeline.annotations.tools.names import seconds_of, video_id_of
from pipeline.annotations.tools.table import rows

_FILES = ("Media file path", "Media file name", "Media file")
_KINDS = ("Behavior type", "Status")
_AGGREGATED = {"Behavior", "Start (s)", "Stop (s)"}
_TABULAR = {"Time", "Behavior"}
_HEAD_ROWS = 60

Started = dict[tuple[str, ...], tuple[str, str]]


def recognizes(content: Content) -> bool:
    """Return whether a row among the first is the header of one of these exports."""
    return _header(content.lines) is not None


def translate(content: Content) -> RawAnnotations:
    """Return the state events."""
    header = _header(content.lines)
    assert header is not None, "recognized before"
    line_of_header, names = header
    found, started = Gather("boris"), dict[tuple[str, ...], tuple[str, str]]()
    lines = [(line, cells) for line, cells in rows(content.lines) if line > line_of_header]
    spread = _in_several_files(lines, names)
    for line, cells in lines:
        where = f"line {line}"
        if len(cells) < len(names):
            found.fault(where, f"expected {len(names)} columns, got {len(cells)}")
            continue
        row = dict(zip(names, map(str.strip, cells), strict=False))
        name = next((row[column] for column in _FILES if row.get(column)), "")
        if not name or name in ("NA", "LIVE"):
            found.leave_out("event", "of no media file")
        elif row.get("Observation id", "") in spread:
            found.fault(
                where, "its observation has several media files, and times count through all; give the .boris project"
            )
        else:
            found.video(video_id_of(name), fps=row.get("FPS") or None)
            _event(found, row, video_id_of(name), where, started)
    for key, (_, where) in started.items():
        found.fault(where, f"state event {key[1]!r:.40} starts and never stops")
    return found.result()


def _header(lines: list[str]) -> tuple[int, list[str]] | None:
    """Return the line of the columns' names, and the names."""
    for count, (line, cells) in enumerate(rows(lines)):
        names = [cell.strip() for cell in cells]
        here = set(names)
        if here & set(_FILES) and (here >= _AGGREGATED or (here >= _TABULAR and here & set(_KINDS))):
            return line, names
        if count > _HEAD_ROWS:
            break
    return None


def _in_several_files(lines: list[tuple[int, list[str]]], names: list[str]) -> set[str]:
    """Return the observations that name more than one media file."""
    files: dict[str, set[str]] = {}
    for _, cells in lines:
        row = dict(zip(names, cells, strict=False))
        name = next((row[column] for column in _FILES if row.get(column)), "")
        files.setdefault(row.get("Observation id", "").strip(), set()).add(name)
    return {observation for observation, found in files.items() if len(found) > 1 and observation}


def _event(found: Gather, row: dict[str, str], video: str, where: str, started: Started) -> None:
    label, kind = row["Behavior"], next((row[name] for name in _KINDS if row.get(name)), "").upper()
    if kind.startswith("POINT"):
        found.leave_out("point event", "(they have no length)")
    elif "Start (s)" in row:
        found.segment(video, (seconds_of(row["Start (s)"]), seconds_of(row["Stop (s)"])), label, where=where)
    elif kind not in ("START", "STOP"):
        found.fault(where, f"expected START, STOP or POINT, got {kind!r:.40}")
    else:
        same = ("Observation id", "Subject", *(name for name in row if name.lower().startswith("modifier")))
        key = (video, label, *(row.get(name, "") for name in same))
        if kind == "START" and key not in started:
            started[key] = (row["Time"], where)
        elif kind == "STOP" and key in started:
            begun, _ = started.pop(key)
            found.segment(video, (seconds_of(begun), seconds_of(row["Time"])), label, where=where)
        else:
            found.fault(where, f"{label!r:.40} {'starts twice' if kind == 'START' else 'stops and never started'}")

"""VIA 3 (VGG Image Annotator for video): its project as JSON, and its export as CSV.

A label is the value of the first attribute on the time line; options are told by their names. Marks of a single frame
and regions in pictures are left out.

Source: https://gitlab.com/vgg/via, `via-3.x.y/src/js/_via_data.js` and `_via_metadata.js` (`z`: times in seconds; `av`:
value by attribute; `vid`: view; a view lists files), `_via_import_export.js` for the CSV.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.annotations.content import Content
from pipeline.annotations.raw import RawAnnotations
from pipeline.annotations.tools.gather import Gather
from pipeline.annotations.tools.names import video_id_of
from pipeline.annotations.tools.parts import objects_in
from pipeline.annotations.tools.table import rows

_ON_TIME_LINE = "FILE1_Z2_XY0"  # an attribute that is anchored to a stretch of time
_CHECKBOX = 2  # the type of attributes with several values, between commas
_ATTRIBUTES = ("# ATTRIBUTE = ", "# ATTRIBUTES = ")
_HEADER = "# CSV_HEADER = metadata_id,file_list,flags,temporal_coordinates,"
_COLUMNS = 6


def recognizes(content: Content) -> bool:
    """Return whether a JSON value is a project of VIA 3, or a text its CSV."""
    if isinstance(content.json, dict):
        return {"metadata", "attribute", "file", "view"} <= content.json.keys()
    return any(line.startswith(_HEADER) for line in content.lines[:20])


def translate(content: Content) -> RawAnnotations:
    """Return the segments of a project, or of its CSV."""
    found = Gather("via3")
    if isinstance(content.json, dict):
        _project(content.json, found)
    else:
        _table(content.lines, found)
    return found.result()


def _project(project: dict[str, Any], found: Gather) -> None:
    attributes = dict(objects_in(project, "attribute", "", found))
    attributes = {place.removeprefix("attribute/"): value for place, value in attributes.items()}
    files = {place.removeprefix("file/"): file for place, file in objects_in(project, "file", "", found)}
    names: dict[str, str] = {}
    for place, view in objects_in(project, "view", "", found):
        of_view = view.get("fid_list")
        first = str(of_view[0]) if isinstance(of_view, list) and of_view else ""
        name = files.get(first, {}).get("fname")
        if isinstance(name, str) and name:
            names[place.removeprefix("view/")] = video_id_of(name)
            found.video(names[place.removeprefix("view/")])
    for place, item in objects_in(project, "metadata", "", found):
        video = names.get(str(item.get("vid")))
        if video is None:
            found.fault(place, f"view {item.get('vid')!r:.40} has no file")
            continue
        _segment(found, video, place, _Metadata(item.get("z"), item.get("xy"), item.get("av")), attributes)


def _table(lines: list[str], found: Gather) -> None:
    attributes: dict[str, Any] = {}
    for line in lines[:20]:
        for start in _ATTRIBUTES:
            if line.startswith(start) and isinstance(value := _json(line.removeprefix(start)), dict):
                attributes = {key: item for key, item in value.items() if isinstance(item, dict)}
    for number, cells in rows(lines):
        where = f"line {number}"
        if len(cells) < _COLUMNS:
            found.fault(where, f"expected {_COLUMNS} columns, got {len(cells)}")
            continue
        _, files, _, times, region, values = (_json(cell) for cell in cells[:_COLUMNS])
        if not isinstance(files, list) or not files or not isinstance(files[0], str) or not files[0]:
            found.fault(where, f"file_list must be a list of names, got {cells[1]!r:.60}")
            continue
        video = video_id_of(files[0])
        found.video(video)
        _segment(found, video, where, _Metadata(times, region, values), attributes)


@dataclass(frozen=True)
class _Metadata:
    """What VIA calls metadata: times in seconds, a region in the picture, and values by attribute."""

    times: Any
    region: Any
    values: Any


def _segment(found: Gather, video: str, where: str, metadata: _Metadata, attributes: Mapping[str, Any]) -> None:
    times, values = metadata.times, metadata.values
    if metadata.region:
        found.leave_out("region", "in pictures")
        return
    if not isinstance(times, list) or not isinstance(values, dict):
        found.fault(where, f"times must be a list and values an object, got {times!r:.40} and {values!r:.40}")
        return
    if len(times) < 2:
        found.leave_out("mark", "without length")
        return
    if len(times) > 2:
        found.fault(where, f"times must be start and end, got {times!r:.60}")
        return
    given = {key: value for key, value in values.items() if value not in ("", None)}
    known = [key for key in attributes if key in given and attributes[key].get("anchor_id") in (None, _ON_TIME_LINE)]
    chosen = next(iter(known), next(iter(given), None))
    if len(given) > 1:
        found.leave_out("further value", "of segments: the first attribute is the label")
    for label in _labels(given.get(chosen), attributes.get(chosen) or {}) if chosen is not None else [""]:
        found.segment(video, times, label, where=where)


def _labels(value: Any, attribute: Mapping[str, Any]) -> list[Any]:
    """Return the names of the options that a value tells; text as it is."""
    options = attribute.get("options")
    names = options if isinstance(options, dict) else {}
    if not isinstance(value, str):
        return [value]
    chosen = value.split(",") if attribute.get("type") == _CHECKBOX else [value]
    return [names.get(option, option) for option in chosen if option]


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None

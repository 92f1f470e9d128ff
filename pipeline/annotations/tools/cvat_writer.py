"""Write "CVAT for video 1.1": upload it as annotations of the task of the video, whose labels must have these names.

An action is a track with a box over the whole picture, from its first frame until it is outside.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from xml.etree.ElementTree import Element, ElementTree, SubElement, indent

from pipeline.annotations.tools.labeled import Video, frames_of
from pipeline.annotations.videos import VideoFacts
from pipeline.storage.atomic_files import whole_file
from pipeline.storage.read_xml import xml_text


def write(path: Path, video: Video, labels: Sequence[str]) -> None:
    """Write the file of one video; times are rounded to frames.

    Args:
        labels: all labels of the data set.

    Raises:
        PipelineError: nothing is known about the video.
    """
    facts = video.known("CVAT")
    root = Element("annotations")
    SubElement(root, "version").text = "1.1"
    meta = SubElement(root, "meta")
    task = SubElement(meta, "task")
    size = {"width": str(facts.width), "height": str(facts.height)}
    for name, text in (("name", video.id), ("size", facts.frames), ("mode", "interpolation"), ("start_frame", 0)):
        SubElement(task, name).text = xml_text(text)
    of_labels = SubElement(task, "labels")
    for label in labels:
        SubElement(SubElement(of_labels, "label"), "name").text = xml_text(label)
    original = SubElement(task, "original_size")
    for name, text in size.items():
        SubElement(original, name).text = text
    SubElement(task, "source").text = xml_text(facts.name)
    for number, item in enumerate(video.items):
        track = SubElement(root, "track", {"id": str(number), "label": xml_text(item.label), "source": "auto"})
        first, end = frames_of(item, facts)
        track.append(_box(first, facts, outside=False))
        if end - 1 > first:
            track.append(_box(end - 1, facts, outside=False))
        if end < facts.frames:
            track.append(_box(end, facts, outside=True))
    indent(root)
    with whole_file(path) as partial:
        ElementTree(root).write(partial, encoding="utf-8", xml_declaration=True)


def _box(frame: int, facts: VideoFacts, *, outside: bool) -> Element:
    corners = {"xtl": "0.00", "ytl": "0.00", "xbr": f"{facts.width:.2f}", "ybr": f"{facts.height:.2f}"}
    state = {"frame": str(frame), "keyframe": "1", "outside": str(int(outside)), "occluded": "0"}
    return Element("box", {**state, **corners, "z_order": "0"})

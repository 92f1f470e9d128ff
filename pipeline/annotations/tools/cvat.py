"""CVAT: `annotations.xml` of "CVAT for video 1.1" and "CVAT for images 1.1", and the archive that it downloads.

A track is a segment wherever its object is in the picture; a tag is a segment over the frames in a row that have it.
Times are frames, from 0.

Source: https://docs.cvat.ai/docs/dataset_management/formats/format-cvat and /docs/other/xml_format; the archive holds
`annotations.xml`, and pictures that are not read.
"""

from __future__ import annotations

from collections.abc import Iterator

from pipeline.annotations.content import Content
from pipeline.annotations.raw import RawAnnotations
from pipeline.annotations.tools.gather import Gather
from pipeline.annotations.tools.names import video_id_of
from pipeline.storage.read_xml import Element, xml_children

_SHAPES = frozenset(("box", "polygon", "polyline", "points", "cuboid", "skeleton", "ellipse", "mask"))


def recognizes(content: Content) -> bool:
    """Return whether the root of the XML is CVAT's."""
    return content.xml == "annotations"


def translate(content: Content) -> RawAnnotations:
    """Return the segments of all tasks of a file."""
    found, tasks = Gather("cvat"), _Tasks(content.path.stem)
    tags: dict[tuple[str, str], dict[int, int]] = {}  # by task and label: frame → line
    with content.open() as file:
        for part in xml_children(file, where=f"annotations: {content.path}"):
            if part.name == "meta":
                tasks.read(part, found)
            elif part.name == "track":
                _track(part, tasks, found)
            elif part.name == "image":
                _image(part, tags, found)
    for (task, label), frames in tags.items():
        for start, end in _runs(sorted(frames), tasks.steps.get(task, 1)):
            where = f"line {frames[start]}"
            found.segment(tasks.video(task), (start, end), label, where=where, in_frames=True)
    return found.result()


class _Tasks:
    """The tasks of a file: their videos and the distance of their frames.

    Args:
        default: the id of the video if the file does not name one.
    """

    def __init__(self, default: str) -> None:
        self._default = default
        self._videos: dict[str, str] = {}
        self.steps: dict[str, int] = {}

    def read(self, meta: Element, found: Gather) -> None:
        project = [task for root in meta.all("project") for tasks in root.all("tasks") for task in tasks.all("task")]
        for task in project or meta.all("task") or meta.all("job"):
            key = task.child_text("id")
            name = task.child_text("source") or meta.child_text("source") or task.child_text("name")
            self._videos[key] = video_id_of(name) if name else self._default
            step = task.child_text("frame_filter").removeprefix("step=")
            self.steps[key] = int(step) if step.isdecimal() and 0 < len(step) < 9 else 1
            found.video(self._videos[key])

    def video(self, task: str) -> str:
        """Return the video of a task; that of the only one if the number is unknown."""
        if task in self._videos or len(self._videos) != 1:
            return self._videos.get(task, self._default)
        return next(iter(self._videos.values()))


def _track(track: Element, tasks: _Tasks, found: Gather) -> None:
    """Add the stretches of frames in which the track's object is there."""
    video = tasks.video(track.attributes.get("task_id", ""))
    shapes = [shape for shape in track.children if shape.name in _SHAPES]
    start: int | None = None
    last, where = -1, f"line {track.line}"
    for shape in shapes:
        frame = _frame(shape.attributes.get("frame"))
        if frame is None or frame < last:
            told = shape.attributes.get("frame")
            found.fault(f"line {shape.line}", f"frame must be a number, none below the one before, got {told!r:.40}")
            return
        # A skeleton is outside if all its points are.
        parts = [part for part in shape.children if part.name in _SHAPES] if shape.name == "skeleton" else [shape]
        outside = all(part.attributes.get("outside") == "1" for part in parts)
        if outside and start is not None:
            found.segment(video, (start, frame), track.attributes.get("label"), where=where, in_frames=True)
            start = None
        elif not outside and start is None:
            start, where = frame, f"line {shape.line}"
        last = frame
    if start is not None:
        found.segment(video, (start, last + 1), track.attributes.get("label"), where=where, in_frames=True)


def _image(image: Element, tags: dict[tuple[str, str], dict[int, int]], found: Gather) -> None:
    """Note the tags of a frame."""
    frame = _frame(image.attributes.get("id"))
    for tag in image.all("tag"):
        if frame is None:
            found.fault(f"line {image.line}", f"id must be a frame's number, got {image.attributes.get('id')!r:.40}")
            return
        key = image.attributes.get("task_id", ""), tag.attributes.get("label", "")
        tags.setdefault(key, {})[frame] = tag.line
    if any(child.name in _SHAPES for child in image.children):
        found.leave_out("frame", "with shapes that belong to no track")


def _runs(frames: list[int], step: int) -> Iterator[tuple[int, int]]:
    """Yield the runs of frames in a row, as (first, last + step)."""
    if not frames:
        return
    start = before = frames[0]
    for frame in frames[1:]:
        if frame > before + step:
            yield start, before + step
            start = frame
        before = frame
    yield start, before + step


def _frame(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdecimal() and len(text) < 13 else None

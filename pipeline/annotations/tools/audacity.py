"""Label files of Audacity: one `.txt` for each video, named like it, with lines `start⇥end⇥label` in seconds.

Source: Audacity's manual, "Importing and Exporting Labels": a line that starts with a backslash holds the frequencies
of the label before it; a label at a point has equal times.
"""

from __future__ import annotations

from pipeline.annotations.content import Content
from pipeline.annotations.raw import RawAnnotations
from pipeline.annotations.tools.gather import Gather
from pipeline.annotations.tools.names import seconds_of
from pipeline.storage.file_names import identifier_of


def recognizes(content: Content) -> bool:
    """Return whether the first line is two times and a label, between tabs."""
    first = next((line for line in content.lines if line.strip() and not line.startswith("\\")), "")
    cells = first.split("\t")
    return len(cells) in (2, 3) and all(isinstance(seconds_of(cell), float) for cell in cells[:2])


def translate(content: Content) -> RawAnnotations:
    """Return the segments of the file; its name without suffix is the video's id."""
    found, video = Gather("audacity"), identifier_of(content.path.stem)
    found.video(video)
    for line, text in enumerate(content.lines, start=1):
        if not text.strip() or text.startswith("\\"):
            continue
        cells = text.split("\t", 2)
        if len(cells) < 2:
            found.fault(f"line {line}", f"expected start, end and label between tabs, got {text!r:.80}")
            continue
        start, end = (seconds_of(cell) for cell in cells[:2])
        if start == end:
            found.leave_out("label", "at points in time, without length")
            continue
        found.segment(video, (start, end), cells[2] if len(cells) > 2 else "", where=f"line {line}")
    return found.result()

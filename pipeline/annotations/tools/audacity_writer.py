"""Write a label file of Audacity: lines `start⇥end⇥label` in seconds."""

from __future__ import annotations

from pathlib import Path

from pipeline.annotations.tools.labeled import Video
from pipeline.storage.atomic_files import write_text


def write(path: Path, video: Video) -> None:
    """Write the labels of one video; times have six digits, as in Audacity's own files."""
    lines = (
        "\t".join((f"{item.segment[0]:.6f}", f"{item.segment[1]:.6f}", " ".join(item.label.split())))
        for item in video.items
    )
    write_text(path, "".join(f"{line}\n" for line in lines))

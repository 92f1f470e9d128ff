"""What the tests of readers share: a file is written, read, and told as plain values."""

from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.annotations import Annotations, read_annotations
from pipeline.annotations.faults import FaultyAnnotationsError

Told = dict[str, list[tuple[float, float, str]]]


def read(path: Path, text: str | bytes, *, fps_of: Callable[[str], float | None] | None = None) -> Annotations:
    """Write a file and read it as annotations."""
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return read_annotations(path, fps_of=fps_of)


def told(annotations: Annotations) -> Told:
    """The segments by video, rounded to a microsecond."""
    return {
        name: [(round(s.segment[0], 6), round(s.segment[1], 6), s.label) for s in video.segments]
        for name, video in annotations.videos.items()
    }


def faults_of(path: Path, text: str | bytes) -> list[str]:
    """The faults with which a file is refused."""
    with pytest.raises(FaultyAnnotationsError) as error:
        read(path, text)
    return error.value.lines

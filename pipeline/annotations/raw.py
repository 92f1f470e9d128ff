"""A file's values as a dialect's `translate` returns them, not yet checked."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class RawSegment:
    """A segment as the file gives it; `bounds` should be two numbers and `label` a name.

    Args:
        where: its place in the file, for messages: "line 7"; empty: its number in the video says it.
        in_frames: whether the bounds count frames, from 0; a segment of one frame is (f, f + 1).
        score: of a detection.
    """

    bounds: Any
    label: Any
    label_id: Any = None
    where: str = ""
    in_frames: bool = False
    score: Any = None


@dataclass(frozen=True)
class RawVideo:
    """A video as the file gives it; None where the file has no value."""

    id: str
    segments: list[RawSegment]
    subset: Any = None
    duration: Any = None
    fps: Any = None
    frames: Any = None


@dataclass(frozen=True)
class RawAnnotations:
    """A file as its dialect's `translate` read it.

    Args:
        losses: what the file holds and `Annotations` cannot, one line each.
        faults: what cannot be read, one line each with its place in the file.
    """

    dialect: str
    videos: list[RawVideo]
    version: str = ""
    losses: tuple[str, ...] = field(default=())
    faults: tuple[str, ...] = field(default=())

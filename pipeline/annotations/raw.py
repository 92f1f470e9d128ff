"""A file's values as a dialect's `translate` returns them, not yet checked."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class RawSegment:
    """A segment as the file gives it; `bounds` should be two numbers and `label` a name."""

    bounds: Any
    label: Any
    label_id: Any = None


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
    """

    dialect: str
    videos: list[RawVideo]
    version: str = ""
    losses: tuple[str, ...] = field(default=())

"""Segments and detections in seconds, and the conversion between seconds and snippets."""

import math
from dataclasses import dataclass
from typing import Any

from pipeline.errors import PipelineError

# The only class of heads that find actions without naming them.
PROPOSAL_LABEL = "action"
# How far ground truth may extend beyond its video by default.
TOLERANCE_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Segment:
    """One annotated action: `segment` is (start, end) in seconds of the video's own clock."""

    segment: tuple[float, float]
    label: str


@dataclass(frozen=True, slots=True)
class Detection:
    """One located action: `segment` is (start, end) in seconds; a higher `score` means more certain."""

    segment: tuple[float, float]
    label: str
    score: float


def check_tolerance(seconds: float) -> None:
    """Check that `seconds` is finite and >= 0.

    Raises:
        PipelineError: it is not.
    """
    if not (math.isfinite(seconds) and seconds >= 0):
        raise PipelineError(f"tolerance_seconds must be >= 0, got {seconds}")


def seconds_to_snippets(seconds: Any, *, stride_seconds: float, window_seconds: float) -> Any:
    """Return the snippet coordinates of times; row i's center, `i * stride + window / 2` seconds, has coordinate i.

    Args:
        seconds: a number, array or tensor of times. Times before the first row's center get negative coordinates.
        stride_seconds: from one row to the next, > 0.
        window_seconds: what one row covers, > 0.
    """
    _check_clock(stride_seconds, window_seconds)
    return (seconds - window_seconds / 2) / stride_seconds


def snippets_to_seconds(snippets: Any, *, stride_seconds: float, window_seconds: float) -> Any:
    """Return the times in seconds of snippet coordinates; the inverse of `seconds_to_snippets`."""
    _check_clock(stride_seconds, window_seconds)
    return snippets * stride_seconds + window_seconds / 2


def _check_clock(stride_seconds: float, window_seconds: float) -> None:
    for name, value in (("stride_seconds", stride_seconds), ("window_seconds", window_seconds)):
        if not value > 0:
            raise PipelineError(f"{name} must be > 0, got {value}")

"""What training, detection and evaluation exchange: segments in seconds, and how seconds relate to snippets."""

import math
from dataclasses import dataclass
from typing import Any

from pipeline.errors import PipelineError

# The one class of heads that find actions without naming them.
PROPOSAL_LABEL = "action"
# How far ground truth may overshoot its video, unless an option says otherwise.
TOLERANCE_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Segment:
    """One annotated action: ``segment`` is (start, end) in seconds of the video's own clock."""

    segment: tuple[float, float]
    label: str


@dataclass(frozen=True, slots=True)
class Detection:
    """One located action: ``segment`` is (start, end) in seconds; a higher ``score`` means more certain."""

    segment: tuple[float, float]
    label: str
    score: float


def check_tolerance(seconds: float) -> None:
    """Raises a PipelineError where ``seconds`` is no tolerance."""
    if not (math.isfinite(seconds) and seconds >= 0):
        raise PipelineError(f"tolerance_seconds must be >= 0, got {seconds}")


def seconds_to_snippets(seconds: Any, *, stride_seconds: float, window_seconds: float) -> Any:
    """Snippet coordinates of times: row i's center, ``i * stride + window / 2`` seconds, is coordinate i.

    Args:
        seconds: a number, array or tensor of times in seconds. Times before the first row's center are negative.
        stride_seconds: from one row to the next, > 0.
        window_seconds: what one row covers, > 0.
    """
    _check_clock(stride_seconds, window_seconds)
    return (seconds - window_seconds / 2) / stride_seconds


def snippets_to_seconds(snippets: Any, *, stride_seconds: float, window_seconds: float) -> Any:
    """Times in seconds of snippet coordinates: the inverse of `seconds_to_snippets`."""
    _check_clock(stride_seconds, window_seconds)
    return snippets * stride_seconds + window_seconds / 2


def _check_clock(stride_seconds: float, window_seconds: float) -> None:
    for name, value in (("stride_seconds", stride_seconds), ("window_seconds", window_seconds)):
        if not value > 0:
            raise PipelineError(f"{name} must be > 0, got {value}")

"""Snippet arithmetic: which frames make snippet i, and which seconds it covers.

Times are exact fractions of a second on the video's presentation clock; the video's first frame is shown at zero.
Snippet `i` covers the half-open interval `[i * stride, i * stride + window)`.

Frames are chosen by timestamp, never by index. The encoder sees the video on a regular grid of `fps` cells a second
(the same for all videos, or each video's own rate): grid cell `n` shows the frame that a player shows in the middle of
the cell, at `(n + 1/2) / fps`. The middle is far from the edges of cells, so a file whose own rate is `fps` gives each
of its frames exactly once, even if its container has rounded the timestamps. Of the `window_frames` cells of a snippet
the encoder takes `num_frames`: one, or a stack of consecutive ones, from the middle of each of `num_frames` equal
parts. Optical flow at cell `n` is the motion from the frame of cell `n` to that of cell `n + 1`.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Literal

from pipeline.errors import PipelineError

Tail = Literal["pad", "drop"]

_LONGEST_NUMBER = 300  # characters; exact durations are fractions with many digits
_HUGE_EXPONENT = re.compile(r"[eE][-+]?[0_]*[1-9][0-9_]{2}")
_MOST = 10**9  # limit of a plan's rates and lengths; its inverse is the lower limit. Far beyond any video


def exact(number: float | str | Fraction) -> Fraction:
    """Return the exact fraction for a decimal number: 0.1 is 1/10, not the nearest binary float.

    Raises:
        PipelineError: it is no finite number, or is absurdly large or small.
    """
    if isinstance(number, Fraction):
        return number
    try:
        text = str(number)
        if len(text) > _LONGEST_NUMBER or _HUGE_EXPONENT.search(text):  # else Python would compute a huge power of ten
            raise ValueError
        return Fraction(text)
    except (ValueError, ZeroDivisionError):
        raise PipelineError(f"a number such as 25, 29.97 or 30000/1001 is expected, got {number!r:.40}") from None


@dataclass(frozen=True, kw_only=True)
class SnippetPlan:
    """How a video is cut into snippets; it defines what feature row i means.

    Args:
        fps: cells a second of the sampling grid (the rate that the encoder was trained at); None: each video's own
            frame rate, so that a row's seconds differ from video to video, and `at` gives the plan that states them.
        window_frames: length of a snippet in grid cells, > 0; may be fractional when given in seconds.
        stride_frames: distance between the starts of two snippets in grid cells, > 0.
        num_frames: F, frames that the encoder takes from a snippet, 1 <= F <= window_frames.
        tail: "pad" completes the last snippet by repeating the video's last frame; "drop" leaves it out.
        stack: L, number of consecutive cells taken at each of the F places; the middle one is the cell that is taken
            if L is 1; F * L <= window_frames.
        flow: whether the frame of the cell after each one is also needed.
    """

    fps: Fraction | None
    window_frames: Fraction
    stride_frames: Fraction
    num_frames: int
    tail: Tail = "pad"
    stack: int = 1
    flow: bool = False

    def __post_init__(self) -> None:
        for name in ("fps", "window_frames", "stride_frames"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise PipelineError(f"{name} must be > 0, got {value}")
            if value is not None and not 1 <= value * _MOST <= _MOST**2:
                raise PipelineError(f"{name} must be from 1e-9 to 1e9, got {str(value)[:40]}")
        if self.stack < 1:
            raise PipelineError(f"stack must be >= 1, got {self.stack}")
        taken = self.num_frames * self.stack
        if not 1 <= taken <= self.window_frames:
            raise PipelineError(
                f"window must hold at least the encoder's {taken} frames at {self._rate_in_words()}, "
                f"got {float(self.window_frames):g} frames; choose a longer window"
            )
        if self.tail not in ("pad", "drop"):
            raise PipelineError(f"tail must be 'pad' or 'drop', got {self.tail!r}")

    def at(self, video_fps: Fraction) -> SnippetPlan:
        """Return the plan for a video whose own frame rate is `video_fps`: this plan, unless its `fps` is None."""
        return self if self.fps is not None else replace(self, fps=video_fps)

    @property
    def rate(self) -> Fraction:
        """Cells a second of the sampling grid.

        Raises:
            PipelineError: the plan follows each video's own rate; use `at` first.
        """
        if self.fps is None:
            raise PipelineError("rows follow each video's own frame rate: only a video's sidecar states their seconds")
        return self.fps

    @property
    def window_seconds(self) -> Fraction:
        return self.window_frames / self.rate

    @property
    def stride_seconds(self) -> Fraction:
        return self.stride_frames / self.rate

    def count(self, duration: Fraction) -> int:
        """Return T, the number of snippets of a video.

        Args:
            duration: seconds from the start of the first frame to the end of the last.

        Returns:
            `ceil(duration / stride)`, at least 1, for tail "pad"; the number of whole windows, which may be 0, for
            tail "drop".
        """
        if self.tail == "pad":
            return max(1, math.ceil(duration / self.stride_seconds))
        return max(0, math.floor((duration - self.window_seconds) / self.stride_seconds) + 1)

    def frame_times(self, snippet: int) -> list[Fraction]:
        """Return the times, in seconds, of the frames that snippet number `snippet` needs, ascending.

        These are the frames of its cells and, with flow, of the cells after them.
        """
        start = snippet * self.stride_frames
        return [(start + cell + Fraction(1, 2)) / self.rate for cell in self._shown_cells()]

    @property
    def cells(self) -> tuple[int, ...]:
        """The F * L grid cells of a window that the encoder takes, ascending; the window begins with cell 0."""
        middles = (math.floor((2 * k + 1) * self.window_frames / (2 * self.num_frames)) for k in range(self.num_frames))
        return tuple(middle - self.stack // 2 + place for middle in middles for place in range(self.stack))

    @property
    def pairs(self) -> tuple[tuple[int, int], ...]:
        """For each of the `cells`, the places of its own time and of the next cell's time in `frame_times`.

        Without flow both are its own.
        """
        places = {cell: place for place, cell in enumerate(self._shown_cells())}
        return tuple((places[cell], places[cell + self.flow]) for cell in self.cells)

    def _shown_cells(self) -> list[int]:
        """Return the cells whose frames must be decoded, ascending."""
        return sorted({cell + later for cell in self.cells for later in range(1 + self.flow)})

    def _rate_in_words(self) -> str:
        return "the video's own rate" if self.fps is None else f"{float(self.fps):g} fps"


def tick_of(time: Fraction, time_base: Fraction) -> int:
    """Return the timestamp, in ticks of `time_base`, that is current at `time` seconds.

    A frame is shown during `[pts, next pts)`; with integer ticks it covers `time` exactly when
    `pts <= tick_of(time) < next pts`.
    """
    return math.floor(time / time_base)

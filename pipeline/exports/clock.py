"""The clock of an export: ticks in which the stride and the first center are whole numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

from pipeline.snippets import SnippetPlan

_LEAST_STRIDE = 4  # ticks; some toolkits round times down to whole ticks, so a stride needs several


@dataclass(frozen=True)
class Clock:
    """A rate at which a store's rows fall on whole ticks. Other toolkits call these ticks frames.

    The toolkits take stride and offset as integers, and one rate for each video. The rate is that of the snippet plan
    if stride and first center are whole frames, else a multiple of it.

    Args:
        rate: ticks per second.
        stride: ticks from one row to the next.
        offset: ticks from the start of the video to the center of row 0.
    """

    rate: Fraction
    stride: int
    offset: int

    @classmethod
    def of(cls, plan: SnippetPlan) -> Clock:
        """Return the slowest clock for the rows of `plan`."""
        center = plan.window_frames / 2
        factor = math.lcm(plan.stride_frames.denominator, center.denominator)
        factor *= math.ceil(_LEAST_STRIDE / (plan.stride_frames * factor))
        return cls(plan.rate * factor, int(plan.stride_frames * factor), int(center * factor))

    @classmethod
    def of_frames(cls, plan: SnippetPlan) -> Clock:
        """Return a clock for a plan that may follow each video's own rate; then only stride and offset are valid."""
        return cls.of(plan.at(Fraction(1)))

    @property
    def stride_seconds(self) -> float:
        return float(self.stride / self.rate)

    def ticks(self, seconds: float) -> int:
        """Return the number of ticks nearest to `seconds`, at least 1."""
        return max(1, round(seconds * float(self.rate)))

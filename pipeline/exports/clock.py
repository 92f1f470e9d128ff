"""The clock of an export: a tick that makes stride and first center whole numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

from pipeline.snippets import SnippetPlan

_LEAST_STRIDE = 4  # some consumers round times down to whole ticks: the stride must be several of them


@dataclass(frozen=True)
class Clock:
    """What other toolkits call frames: ticks of a rate at which a store's rows fall on whole numbers.

    The consumers take stride and offset as integers, and one rate a video. The rate is the snippet plan's own where
    stride and first center are whole frames of it, and a multiple of it elsewhere.

    Args:
        rate: ticks a second.
        stride: ticks from one row to the next.
        offset: ticks from the start of the video to the center of row 0.
    """

    rate: Fraction
    stride: int
    offset: int

    @classmethod
    def of(cls, plan: SnippetPlan) -> Clock:
        """The slowest such clock for the rows of `plan`."""
        center = plan.window_frames / 2
        factor = math.lcm(plan.stride_frames.denominator, center.denominator)
        factor *= math.ceil(_LEAST_STRIDE / (plan.stride_frames * factor))
        return cls(plan.rate * factor, int(plan.stride_frames * factor), int(center * factor))

    @classmethod
    def of_frames(cls, plan: SnippetPlan) -> Clock:
        """The same for a plan that may follow each video's own rate: stride and offset hold, the rate may not."""
        return cls.of(plan.at(Fraction(1)))

    @property
    def stride_seconds(self) -> float:
        return float(self.stride / self.rate)

    def ticks(self, seconds: float) -> int:
        """The number of ticks nearest to `seconds`, at least 1."""
        return max(1, round(seconds * float(self.rate)))

"""What a look at one number tells about a clip's type: the control for shortcuts at the join."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from pipeline.pretraining.bsp_config import Join
from pipeline.pretraining.bsp_plan import TYPES

_MAX_BINS = 16
_CLIPS_IN_BIN = 10  # at least, of those that the rule is made from


def largest_difference(pixels: Tensor) -> float:
    """Return the largest difference between two frames in a row, as the mean over their bytes.

    Args:
        pixels: uint8 [F, S, S, 3], F >= 2.
    """
    values = pixels.float()
    return float((values[1:] - values[:-1]).abs().flatten(1).mean(dim=1).max())


@dataclass(frozen=True)
class OneFeatureRule:
    """A classifier of one number: in each of some ranges of it, the class that is the most frequent there.

    Args:
        edges: between the ranges, ascending.
        answers: class of each range.
    """

    edges: tuple[float, ...]
    answers: tuple[int, ...]

    @classmethod
    def learned(cls, values: Sequence[float], classes: Sequence[int]) -> OneFeatureRule:
        """Return the rule with ranges of equally many values, about ten or more; a tie goes to the first class."""
        bins = max(2, min(_MAX_BINS, len(values) // _CLIPS_IN_BIN))
        edges = np.unique(np.quantile(np.asarray(values, float), np.arange(1, bins) / bins))
        ranges = np.searchsorted(edges, values, side="right")
        of_range = [np.asarray(classes)[ranges == place] for place in range(len(edges) + 1)]
        answers = [int(np.bincount(inside).argmax()) if len(inside) else 0 for inside in of_range]
        return cls(tuple(edges.tolist()), tuple(answers))

    def answer(self, values: Sequence[float]) -> list[int]:
        """Return the class of each value."""
        return [self.answers[place] for place in np.searchsorted(self.edges, values, side="right")]


def shares_right(
    answers: Sequence[int], classes: Sequence[int], names: Sequence[str]
) -> tuple[float, dict[str, float]]:
    """Return the share of right answers, and the same for each class that occurs."""
    right = np.asarray(answers) == np.asarray(classes)
    of_class = {name: right[np.asarray(classes) == number] for number, name in enumerate(names)}
    return float(right.mean()), {name: float(hits.mean()) for name, hits in of_class.items() if len(hits)}


def baseline_in_words(accuracy: float, baseline: float, join: Join) -> str:
    """Return a remark if one number explains most of the accuracy; else nothing."""
    if explained(accuracy, baseline, classes=len(TYPES)) <= 0.5:
        return ""
    remedy = ": try --bsp.join cut or blend, which join all videos in the same way" if join == "published" else ""
    return f". That one number is enough for most of it, so the network may not look at what the clips show{remedy}"


def explained(accuracy: float, baseline: float, *, classes: int) -> float:
    """Return the baseline's share of what the accuracy has above chance, 0 to 1; 0 if there is nothing above chance."""
    chance = 1 / classes
    return min(1.0, max(0.0, baseline - chance) / (accuracy - chance)) if accuracy > chance else 0.0

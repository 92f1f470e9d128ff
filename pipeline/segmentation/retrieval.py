"""Find stretches of videos that resemble a marked stretch."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.float32]
Curve = NDArray[np.float64]

_OUTSIDE, _FREE, _TAKEN = 0, 1, 2


def example_direction(rows: Rows) -> Rows:
    """Return the mean direction, [C] of unit length, of the rows [n, C] of a marked stretch, n >= 1."""
    mean = rows.sum(axis=0)
    length = float(np.linalg.norm(mean))
    return mean / length if length else mean


def smoothed(values: Curve, width: int) -> Curve:
    """Return the mean of `width` values around each, [T]; at both ends, of those that exist.

    Args:
        width: >= 1; an even one counts as one less.
    """
    reach = (width - 1) // 2
    sums = np.concatenate([[0.0], np.cumsum(values)])
    low = np.maximum(np.arange(len(values)) - reach, 0)
    high = np.minimum(np.arange(len(values)) + reach + 1, len(values))
    return np.asarray((sums[high] - sums[low]) / (high - low))


def stretches(likeness: Curve, *, share: float = 0.5) -> list[tuple[int, int, float]]:
    """Return the peaks of a curve, each widened to where the curve falls below a share of its height.

    Each value is in one stretch at most: the higher peak takes it.

    Args:
        likeness: [T], positive where a row resembles the example.
        share: of a peak's height, > 0 and <= 1.

    Returns:
        (first, end, mean of the curve) of the rows [first, end), the highest peak first.
    """
    state = np.where(likeness > 0, _FREE, _OUTSIDE)
    found = []
    for place in np.argsort(-likeness, kind="stable"):
        if state[place] != _FREE:
            continue
        if _TAKEN in state[max(0, place - 1) : place + 2]:  # the slope of a higher peak
            state[place] = _TAKEN
            continue
        inside = (state == _FREE) & (likeness >= share * likeness[place])
        outside = np.flatnonzero(~inside)
        after = int(np.searchsorted(outside, place))
        left = int(outside[after - 1]) + 1 if after else 0
        end = int(outside[after]) if after < len(outside) else len(likeness)
        state[left:end] = _TAKEN
        found.append((left, end, float(likeness[left:end].mean())))
    return found


"""Rows as directions: less an origin, scaled to unit length. Plain features of encoders are nearly parallel."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

_AT_ONCE = 4096  # rows that are held as float64
# How many rows of its own a video needs for its mean to count as much as that of all videos. The own mean takes away
# the scene, which says nothing about what happens; but in a short clip it would take away what happens as well.
_PRIOR_ROWS = 100

Vector = NDArray[np.float64]
Directions = NDArray[np.float32]


def mean_row(sequences: Iterable[NDArray[np.floating]]) -> Vector:
    """Return the mean, [C], of all rows of one or more sequences [T, C]; they may be memory-mapped."""
    total: Vector | None = None
    count = 0
    for rows in sequences:
        for start in range(0, len(rows), _AT_ONCE):
            part = rows[start : start + _AT_ONCE].sum(axis=0, dtype=np.float64)
            total = part if total is None else total + part
        count += len(rows)
    assert total is not None, "a mean of no rows"
    return np.asarray(total / count)


def directions(rows: NDArray[np.floating], mean: Vector) -> Directions:
    """Return the directions of a video's rows [T, C], seen from a point between their own mean and that of all videos.

    Args:
        rows: T >= 1; may be memory-mapped.
        mean: [C], of the rows of all videos. The share of the video's own mean is T / (T + 100).
    """
    share = len(rows) / (len(rows) + _PRIOR_ROWS)
    origin = share * mean_row([rows]) + (1 - share) * mean
    result = np.empty(rows.shape, dtype=np.float32)
    for start in range(0, len(rows), _AT_ONCE):
        result[start : start + _AT_ONCE] = unit(np.asarray(rows[start : start + _AT_ONCE], dtype=np.float64) - origin)
    return result


def unit(rows: NDArray[np.float64]) -> Directions:
    """Return rows [T, C] scaled to unit length; a row of zeros stays."""
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return (rows / np.where(lengths > 0, lengths, 1)).astype(np.float32)

"""Directions on a plane, so that a person can see which segments are near each other."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def on_plane(directions: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the two principal coordinates of directions, float64 [N, 2].

    Equal input gives equal output: in each axis the value that is largest without its sign is positive.

    Args:
        directions: [N, C].

    Source: Pearson, "On lines and planes of closest fit to systems of points in space", 1901.
    """
    rows = np.asarray(directions, dtype=np.float64)
    rows = rows - rows.mean(axis=0)
    _, axes = np.linalg.eigh(rows.T @ rows)  # ascending
    found = np.zeros((len(rows), 2))
    for column in range(min(2, rows.shape[1])):
        found[:, column] = rows @ axes[:, -1 - column]
    largest = np.take_along_axis(found, np.abs(found).argmax(axis=0)[None], axis=0)
    return found * np.where(largest < 0, -1.0, 1.0)

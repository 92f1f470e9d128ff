"""Rows as directions: less a mean, scaled to unit length. Plain features of encoders are nearly parallel."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

_AT_ONCE = 4096  # rows that are held as float64


def mean_row(sequences: Iterable[NDArray[np.floating]]) -> NDArray[np.float64]:
    """Return the mean, [C], of all rows of sequences [T, C] with one C; they may be memory-mapped."""
    total: NDArray[np.float64] | None = None
    count = 0
    for rows in sequences:
        for start in range(0, len(rows), _AT_ONCE):
            part = rows[start : start + _AT_ONCE].sum(axis=0, dtype=np.float64)
            total = part if total is None else total + part
        count += len(rows)
    assert total is not None and count, "a mean of no rows"
    return np.asarray(total / count)


def directions(rows: NDArray[np.floating], mean: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return rows [T, C] less a mean, each of unit length; a row that is the mean stays zero."""
    result = np.empty(rows.shape, dtype=np.float32)
    for start in range(0, len(rows), _AT_ONCE):
        part = np.asarray(rows[start : start + _AT_ONCE], dtype=np.float64) - mean
        lengths = np.linalg.norm(part, axis=1, keepdims=True)
        result[start : start + _AT_ONCE] = part / np.where(lengths > 0, lengths, 1)
    return result

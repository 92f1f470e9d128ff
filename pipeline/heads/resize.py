"""Resize sequences to a fixed number of rows, as is usual for ActivityNet."""

from typing import Any

import numpy as np


def resize_rows(rows: np.ndarray, length: int) -> np.ndarray:
    """Return the rows resized to [length, C] float32, by linear interpolation along time over the same extent.

    Args:
        rows: [T, C] float, T >= 1.
        length: >= 1.
    """
    position = rescale_snippets(np.arange(length, dtype=np.float64), source=length, target=len(rows))
    position = position.clip(0, len(rows) - 1)
    below = np.floor(position).astype(np.int64)
    above = np.minimum(below + 1, len(rows) - 1)
    share = (position - below)[:, None].astype(np.float32)
    return np.asarray(rows[below] * (1 - share) + rows[above] * share, dtype=np.float32)


def rescale_snippets(snippets: Any, *, source: int, target: int) -> Any:
    """Return snippet coordinates of a sequence of `source` rows as coordinates of the same with `target` rows.

    A row covers half a unit on either side of its coordinate, so -0.5 and T - 0.5 are the ends of both.
    """
    return (snippets + 0.5) * (target / source) - 0.5

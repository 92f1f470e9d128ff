"""Rows resized to a number that is the same for every video, for toolkits that take rows to span the whole video."""

from __future__ import annotations

import math

import numpy as np


def resize_to_span(
    features: np.ndarray, rows: int, *, stride_seconds: float, window_seconds: float, duration_seconds: float
) -> np.ndarray:
    """[rows, C] of the same type: row j stands for the part [j, j + 1) * duration / rows of the video.

    It is the mean of the sequence over that part: of its values, by linear interpolation between the centers of the
    snippets, at the middles of equal pieces no longer than a stride. Before the first center and after the last one
    the sequence is taken to stay as it is there.

    Args:
        features: [T, C] float; row i covers [i * stride, i * stride + window) seconds.
        rows: >= 1.

    Source: RoIAlign (He et al. 2017, arXiv 1703.06870, section 3), along time.
    """
    part_seconds = duration_seconds / rows
    pieces = math.ceil(part_seconds / stride_seconds)
    middles = (np.arange(rows * pieces) + 0.5) * part_seconds / pieces
    position = ((middles - window_seconds / 2) / stride_seconds).clip(0, len(features) - 1)
    below = np.floor(position).astype(np.int64)
    above = np.minimum(below + 1, len(features) - 1)
    share = (position - below).astype(np.float32)[:, None]
    values = features[below] * (1 - share) + features[above] * share
    resized: np.ndarray = values.reshape(rows, pieces, -1).mean(axis=1).astype(features.dtype)
    return resized

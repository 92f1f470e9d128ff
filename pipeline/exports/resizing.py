"""Resize rows to the same number for every video, for toolkits that assume rows to span the whole video."""

from __future__ import annotations

import math

import numpy as np


def resize_to_span(
    features: np.ndarray, rows: int, *, stride_seconds: float, window_seconds: float, duration_seconds: float
) -> np.ndarray:
    """Return [rows, C] of the same dtype: row j covers the part [j, j + 1) * duration / rows of the video.

    A row is the mean of the sequence over its part: the mean of values at the middles of equal pieces no longer than a
    stride, interpolated linearly between the centers of the snippets. Before the first center and after the last one
    the sequence is constant.

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

"""From the shapes in which features are published to rows [T, C]."""

from __future__ import annotations

import numpy as np

from pipeline.exports.claims import BadArray
from pipeline.exports.config import ImportConfig

CROPS = (5, 10)  # of a picture: its corners and center, each mirrored or not


def as_rows(array: np.ndarray, config: ImportConfig) -> np.ndarray:
    """Return the rows [T, C] of a published array; axes of length 1 that pooling left behind are dropped.

    Args:
        array: [T, C] or [T, C, 1, 1], or the same with [C, T]; with crops as a first or second axis more.

    Raises:
        BadArray: it has other axes, or crops that `config.crops` does not tell what to do with.
    """
    while array.ndim > 2 and array.shape[-1] == 1:
        array = array[..., 0]
    if array.ndim == 3 and array.shape[0] == 1:
        array = array[0]
    if array.ndim == 2:
        return array.T if config.channels_first else array
    if array.ndim > 3:
        raise BadArray(f"has places beside time and channels, {list(array.shape)}: average them first")
    crops = _crops_first(array, config)
    if config.channels_first:
        crops = crops.swapaxes(1, 2)
    if config.crops == "mean":
        return crops.mean(axis=0, dtype=np.float64).astype(array.dtype)
    return crops.transpose(1, 0, 2).reshape(crops.shape[1], -1)


def _crops_first(array: np.ndarray, config: ImportConfig) -> np.ndarray:
    """Return an array of three axes with that of the crops first."""
    if config.crops is None:
        raise BadArray(f"has three axes, {list(array.shape)}: if one is of crops, say --crops mean or --crops keep")
    axes = [axis for axis in (0, 1) if array.shape[axis] in CROPS]
    if len(axes) != 1:
        raise BadArray(
            f"must have one axis of {CROPS[0]} or {CROPS[1]} crops before the last, it is {list(array.shape)}"
        )
    return np.moveaxis(array, axes[0], 0)


def joined(rgb: np.ndarray, flow: np.ndarray) -> np.ndarray:
    """Return rows [rgb | flow] of the same times; one row more in either, as flow has between frames, is left out.

    Args:
        rgb: [T, C].
        flow: [T', C'], |T - T'| <= 1.

    Raises:
        BadArray: the numbers of rows differ by more.
    """
    if abs(len(rgb) - len(flow)) > 1:
        raise BadArray(f"has {len(rgb)} rows and its flow {len(flow)}: the streams must cover the same times")
    length = min(len(rgb), len(flow))
    return np.concatenate([rgb[:length], flow[:length]], axis=1)

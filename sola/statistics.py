"""What is known about a data set's features as a whole, and comparing features relative to it.

Features after a ReLU and pooling are all positive: any two have a large cosine, whatever they show, while the
target asks for cosine 0 between unrelated snippets. Relative to the data set's mean, unrelated snippets do have
cosine near 0. Dividing by the deviations keeps a few strong channels from deciding alone; whitening also takes
out what channels say twice.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sola.config import Normalization
from sola.sampling import FeatureSource, PrefetchingSource

# Enough rows for the covariance of 2048 channels with some to spare; read one by one, in seconds.
MOST_ROWS = 16384
# Share of the mean variance that is added to every direction: those with next to none are not blown up.
SHRINKAGE = 0.01
_ROWS_AT_ONCE = 512


@dataclass(frozen=True)
class FeatureStatistics:
    """The origin [C] from which features are compared, and the scale: [C] of channels, or a matrix [C, C]."""

    origin: Tensor
    scale: Tensor

    def to(self, device: torch.device, dtype: torch.dtype) -> "FeatureStatistics":
        """The same on a device."""
        return FeatureStatistics(self.origin.to(device, dtype), self.scale.to(device, dtype))

    def apply(self, features: Tensor) -> Tensor:
        """The features [..., C] relative to the data set."""
        shifted = features - self.origin
        return shifted * self.scale if self.scale.ndim == 1 else shifted @ self.scale


def feature_statistics(
    source: FeatureSource, lengths: np.ndarray, channels: int, normalize: Normalization
) -> FeatureStatistics | None:
    """What the comparison needs to know about the data, float64; None for raw features.

    From at most 16,384 rows, spread evenly over all snippets of all videos.
    """
    if normalize == "none":
        return None
    rows = _spread_rows(source, lengths)
    origin = rows.mean(axis=0)
    centred = rows - origin
    if normalize == "center":
        scale = np.ones(channels)
    elif normalize == "standardize":
        variance = np.square(centred).mean(axis=0)
        scale = 1 / np.sqrt(variance + SHRINKAGE * variance.mean() + np.finfo(np.float64).tiny)
    else:
        covariance = centred.T @ centred / len(centred)
        values, vectors = np.linalg.eigh(covariance)
        values = np.maximum(values, 0)
        shrunk = values + SHRINKAGE * values.mean() + np.finfo(np.float64).tiny
        scale = (vectors / np.sqrt(shrunk)) @ vectors.T
    return FeatureStatistics(torch.from_numpy(origin), torch.from_numpy(scale))


def _spread_rows(source: FeatureSource, lengths: np.ndarray) -> np.ndarray:
    ends = np.cumsum(lengths)
    places = np.unique(np.linspace(0, ends[-1] - 1, min(MOST_ROWS, int(ends[-1]))).astype(np.int64))
    videos = np.searchsorted(ends, places, side="right")
    snippets = places - (ends - lengths)[videos]
    wanted = [(int(video), int(snippet), int(snippet) + 1) for video, snippet in zip(videos, snippets, strict=True)]
    rows = []
    for start in range(0, len(wanted), _ROWS_AT_ONCE):
        part = wanted[start : start + _ROWS_AT_ONCE]
        if isinstance(source, PrefetchingSource):
            source.prefetch(part)
        rows += [source.rows(*row)[0] for row in part]
    return np.stack(rows).astype(np.float64)

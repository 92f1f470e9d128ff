"""Statistics of a data set's features, and comparing features relative to them.

Features after a ReLU and pooling are all positive: any two have a large cosine, whatever they show, while the
target asks for cosine 0 between unrelated snippets. Relative to the data set's mean, unrelated snippets do have
cosine near 0. Dividing by the standard deviations keeps a few strong channels from dominating; whitening also removes
the correlation between channels.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sola.config import Normalization
from sola.sampling import FeatureSource, PrefetchingSource

# More than enough rows for the covariance of 2048 channels; reading them one by one takes seconds.
MOST_ROWS = 16384
# Share of the mean variance that is added to every direction, so that directions with almost none are not blown up.
SHRINKAGE = 0.01
_ROWS_AT_ONCE = 512


@dataclass(frozen=True)
class FeatureStatistics:
    """The origin [C] from which features are compared, and the scale: [C] of channels, or a matrix [C, C]."""

    origin: Tensor
    scale: Tensor

    def to(self, device: torch.device, dtype: torch.dtype) -> "FeatureStatistics":
        """Return the statistics on a device, in a dtype."""
        return FeatureStatistics(self.origin.to(device, dtype), self.scale.to(device, dtype))

    def apply(self, features: Tensor) -> Tensor:
        """Return the features [..., C] relative to the data set."""
        shifted = features - self.origin
        return shifted * self.scale if self.scale.ndim == 1 else shifted @ self.scale


def feature_statistics(
    source: FeatureSource, lengths: np.ndarray, channels: int, normalize: Normalization
) -> FeatureStatistics | None:
    """Return the statistics that the comparison needs, float64; None for raw features.

    They come from at most 16,384 rows, spread evenly over all snippets of all videos.
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

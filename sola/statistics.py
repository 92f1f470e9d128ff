"""Statistics of a data set's features, and comparing features relative to them.

Features after a ReLU and pooling are all positive: any two have a large cosine, whatever they show, while the
target asks for cosine 0 between unrelated snippets. Relative to the data set's mean, unrelated snippets do have
cosine near 0.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sola.config import Normalization
from sola.sampling import FeatureSource, PrefetchingSource

MOST_ROWS = 16384  # more than enough for a mean; reading them one by one takes seconds
_ROWS_AT_ONCE = 512


@dataclass(frozen=True)
class FeatureStatistics:
    """The origin [C] from which features are compared."""

    origin: Tensor

    def to(self, device: torch.device, dtype: torch.dtype) -> "FeatureStatistics":
        """Return the statistics on a device, in a dtype."""
        return FeatureStatistics(self.origin.to(device, dtype))

    def apply(self, features: Tensor) -> Tensor:
        """Return the features [..., C] relative to the data set."""
        return features - self.origin


def feature_statistics(
    source: FeatureSource, lengths: np.ndarray, normalize: Normalization
) -> FeatureStatistics | None:
    """Return the statistics that the comparison needs, float64; None for raw features."""
    if normalize == "none":
        return None
    return FeatureStatistics(torch.from_numpy(spread_rows(source, lengths).mean(axis=0)))


def spread_rows(source: FeatureSource, lengths: np.ndarray) -> np.ndarray:
    """Return at most 16,384 rows [N, C], spread evenly over all snippets of all videos, float64."""
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

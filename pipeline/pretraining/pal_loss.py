"""Features of a region of time, and the loss that makes two of them agree."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from pipeline.pretraining.pal_plan import ClipGrid


def roi_align(features: Tensor, intervals: Tensor, grid: ClipGrid, *, bins: int) -> Tensor:
    """Return the features in the middle of each of `bins` parts of equal time of an interval, [N, bins, C].

    Between the middles of two windows the features are interpolated linearly; before the first and after the last they
    stay the same. So the bins of a linear ramp are its means over the parts.

    Args:
        features: of the windows of N synthetic videos, [N, T', C].
        intervals: [start, stop) in frames of the synthetic videos, [N, 2]; with start < stop.

    Source: RoIAlign with one sample in each bin (He et al. 2017, Mask R-CNN, section 3), in time.
    """
    start, stop = intervals.to(features.dtype).unbind(dim=1)
    shares = (torch.arange(bins, dtype=features.dtype, device=features.device) + 0.5) / bins
    frames = start[:, None] + shares * (stop - start)[:, None]
    positions = ((frames - grid.window / 2) / grid.stride).clamp(0, grid.clips - 1)
    left = positions.floor().clamp(max=grid.clips - 2)
    weight = (positions - left)[:, :, None]
    before = left.long()[:, :, None].expand(-1, -1, features.shape[2])
    return (1 - weight) * features.gather(1, before) + weight * features.gather(1, before + 1)


def info_nce(queries: Tensor, positives: Tensor, keys: Tensor, is_negative: Tensor, *, temperature: float) -> Tensor:
    """Return -log of the share of the positive in the softmax over it and the negatives, the mean over the queries.

    Args:
        queries: unit vectors, [N, D].
        positives: the key that belongs to each query, [N, D].
        keys: [M, D].
        is_negative: which keys are a query's negatives, bool [N, M].
        temperature: divides the similarities.

    Returns:
        A scalar: log(1 + K) if the K negatives are as similar as the positive; 0 without queries.

    Source: van den Oord et al. 2018, equation 4; with keys without gradient as in He et al. 2020 (MoCo), equation 1.
    """
    if len(queries) == 0:
        return queries.sum()
    of_positive = (queries * positives).sum(dim=1, keepdim=True)
    of_others = (queries @ keys.T).masked_fill(~is_negative, -torch.inf)
    logits = torch.cat([of_positive, of_others], dim=1) / temperature
    return F.cross_entropy(logits, torch.zeros(len(queries), dtype=torch.long, device=logits.device))


def spread(features: Tensor) -> float:
    """Return the standard deviation of features [N, C] scaled to unit length, over all directions, 0 to 1.

    0 means that all have one direction: the encoder has collapsed.
    """
    mean = F.normalize(features, dim=1).mean(dim=0)
    return max(0.0, 1.0 - float(mean.square().sum())) ** 0.5


def retrieval(first: Tensor, second: Tensor, sources: Tensor) -> float:
    """Return how often the most similar region of the other side is of the same source, 0 to 1, over both directions.

    Args:
        first: a region in one background for each row, [N, C].
        second: a region of the same source in another background, [N, C].
        sources: of each row, int64 [N].
    """
    similarity = F.normalize(first, dim=1) @ F.normalize(second, dim=1).T
    hits = torch.cat([sources[similarity.argmax(dim=side)] == sources for side in (0, 1)])
    return hits.double().mean().item()


def localization(predicted: Tensor, intervals: Tensor) -> Tensor:
    """Return the mean of L1 + 1 - tIoU of predicted and true intervals [N, 2], as shares of the video."""
    shared = torch.minimum(predicted[:, 1], intervals[:, 1]) - torch.maximum(predicted[:, 0], intervals[:, 0])
    lengths = predicted.diff(dim=1)[:, 0].clamp(min=0) + intervals.diff(dim=1)[:, 0]
    overlap = shared.clamp(min=0) / (lengths - shared.clamp(min=0)).clamp(min=1e-6)
    return ((predicted - intervals).abs().sum(dim=1) + 1 - overlap).mean()

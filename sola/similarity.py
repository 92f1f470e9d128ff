"""Temporal self-similarity matrices (TSM), their target, and the loss between the two."""

import numpy as np
import torch
from torch import Tensor

from sola.device import chosen_rows, sent
from sola.distributed import Total, no_reduction
from sola.errors import SolaError


def target_tsm(size: int, k: float) -> Tensor:
    """Return the similarity [S, S] in [0, 1] that two snippets should have by their interval alone, float64.

    1 on the diagonal, else sigmoid(k / d²) with d = |i - j|: near snippets are similar; far ones approach 0.5,
    which is cosine 0: unrelated, not opposed.

    Args:
        size: S, compared positions.
        k: sharpness, > 0.

    Source: Kang et al., CVPR 2023, section 3.3.
    """
    position = torch.arange(size, dtype=torch.float64)
    interval = (position[:, None] - position[None, :]).abs()
    # On the diagonal k / 0 is infinite, and its sigmoid is 1, as wanted.
    return torch.sigmoid(k / interval.square())


def predicted_tsm(z: Tensor, p: Tensor) -> Tensor:
    """Return the similarity [B, S, S] in [0, 1] between fixed features and predictions: (1 + cos(z_i, p_j)) / 2.

    No gradient flows into z. This and the predictor keep similarity matching from collapsing.

    Args:
        z: features [B, S, C] of the compared positions.
        p: their predictions [B, S, C].
    """
    z = z.detach()
    # Dividing by the lengths after the product costs S divisions a row instead of C. Zero vectors get cosine 0.
    lengths = _lengths(z)[:, :, None] * _lengths(p)[:, None, :]
    cosine = z @ p.transpose(-1, -2) / lengths
    # Rounding can push a cosine past 1 by about 1e-7.
    return ((1 + cosine) / 2).clamp(0, 1)


def _lengths(vectors: Tensor) -> Tensor:
    return torch.linalg.vector_norm(vectors, dim=-1).clamp_min(1e-12)


def similarity_loss(z: Tensor, p: Tensor, target: Tensor, valid: Tensor | None = None) -> Tensor:
    """Return the mean binary cross-entropy between predicted and target TSM, a scalar.

    Every pair of valid positions counts the same, so a short video has the weight of its pairs.

    Args:
        z: features [B, S, C] of the compared positions.
        p: their predictions [B, S, C].
        target: [S, S] or [B, S, S] in [0, 1].
        valid: [B, S] bool, positions inside the video; all when None.
    """
    predicted = predicted_tsm(z, p)
    target = target.to(predicted).expand_as(predicted)
    entropy = _binary_cross_entropy(predicted, target)
    if valid is None:
        return entropy.mean()
    pairs = sent(valid[:, :, None] & valid[:, None, :], predicted.device).to(predicted.dtype)
    return (entropy * pairs).sum() / pairs.sum()


def loss_bounds(target: Tensor, valid: Tensor | None = None, *, total: Total = no_reduction) -> tuple[Tensor, Tensor]:
    """Return the loss of the best constant prediction, and of the target itself; scalars, float64.

    The first is the plateau of a fit that has learned nothing from the intervals: with q the mean of the target over
    the pairs, the mean cross-entropy of a constant c is that of c and q, minimal at c = q. The second, the entropy of
    the target, is the minimum over all predictions.

    Args:
        target: [S, S] or [B, S, S] in [0, 1].
        valid: [B, S] bool, positions inside the video; all if None.
        total: sums over the processes that share the batch (all-reduce).
    """
    target = target.double()
    if valid is not None:
        pairs = valid[:, :, None] & valid[:, None, :]
        target = chosen_rows(target.expand(pairs.shape), pairs)
    entropy = _binary_cross_entropy(target, target).sum()
    level, entropy, pairs = total(torch.stack([target.sum(), entropy, entropy.new_full((), target.numel())]))
    mean = level / pairs
    return _binary_cross_entropy(mean, mean), entropy / pairs


def _binary_cross_entropy(predicted: Tensor, target: Tensor) -> Tensor:
    # Not torch's function: on NaN it aborts without naming the step, and on CUDA it takes the whole process down.
    # The bound keeps the logarithms finite; at 0 and 1 the cosine has an extremum, so no gradient is lost there.
    least = torch.finfo(predicted.dtype).eps
    bounded = predicted.clamp(least, 1 - least)
    return -(target * bounded.log() + (1 - target) * (1 - bounded).log())


def self_similarity(features: np.ndarray) -> np.ndarray:
    """Return the temporal self-similarity matrix [T, T] in [0, 1] of a feature sequence, float32, for display.

    Entry (i, j) is (1 + cos(x_i, x_j)) / 2: symmetric, 1 on the diagonal, independent of the length of the vectors.
    A row of zeros has no direction and counts as unrelated (0.5) to the others.

    Args:
        features: [T, C], any float dtype.
    """
    if features.ndim != 2:
        raise SolaError(f"features must be [T, C], got {list(features.shape)}")
    rows = features.astype(np.float64)
    # Two divisions: by a row's largest value first, so that squares neither overflow nor underflow.
    rows /= np.maximum(np.abs(rows).max(axis=1, keepdims=True, initial=0.0), np.finfo(np.float64).tiny)
    rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), np.finfo(np.float64).tiny)
    matrix = (1 + rows @ rows.T) / 2
    matrix = np.clip((matrix + matrix.T) / 2, 0, 1)
    np.fill_diagonal(matrix, 1)
    return matrix.astype(np.float32)

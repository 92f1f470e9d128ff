"""Losses and targets of the ideas that `compare_fits` tries, and the slow directions of a data set."""

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

# Share of the mean variance that is added to every direction: directions with almost none are not called slow.
SHRINKAGE = 0.01


def variance_term(rows: Tensor) -> Tensor:
    """Return the mean over channels of max(0, 1 - deviation), a scalar: 0 if every channel varies by 1 or more.

    Args:
        rows: [N, C], N >= 2.

    Source: Bardes et al., "VICReg", ICLR 2022, equations 1 and 2.
    """
    return (1 - (rows.var(dim=0) + 1e-4).sqrt()).clamp_min(0).mean()


def covariance_term(rows: Tensor) -> Tensor:
    """Return the sum of the squared covariances of each two channels, divided by the channels: 0 if uncorrelated.

    Args:
        rows: [N, C], N >= 2.

    Source: Bardes et al., "VICReg", ICLR 2022, equations 3 and 4.
    """
    centered = rows - rows.mean(dim=0)
    covariance = centered.T @ centered / (len(rows) - 1)
    return (covariance.square().sum() - covariance.diagonal().square().sum()) / rows.shape[1]


def segment_infonce(z: Tensor, segments: Tensor, temperature: float) -> Tensor:
    """Return the mean of -log(e^p / (e^p + sum e^n)) over each two rows of one segment, a scalar.

    p is the cosine of the two, divided by the temperature; n is that of the first row and any row of another segment.

    Args:
        z: unit vectors [N, C].
        segments: [N] int64, the segment of each row.
        temperature: > 0.

    Returns:
        0 if no two rows are of one segment.

    Source: van den Oord et al., "Representation Learning with Contrastive Predictive Coding", 2018, equation 4.
    """
    logits = z @ z.T / temperature
    same = segments[:, None] == segments[None, :]
    # Not -inf: where all rows are of one segment, its gradient is not a number.
    others = torch.logsumexp(logits.masked_fill(same, -1e4), dim=1, keepdim=True)
    pairs = same & ~torch.eye(len(z), dtype=torch.bool)
    losses = torch.logaddexp(logits, others.expand_as(logits)) - logits
    return torch.where(pairs, losses, 0.0).sum() / pairs.sum().clamp_min(1)


def spliced(rows: Tensor, others: Tensor, places: Tensor, cuts: Tensor) -> Tensor:
    """Return windows that show one video before a cut and another from there on, [B, R, C].

    Args:
        rows: [B, R, C], what stands before the cut.
        others: [B, R, C], what stands from the cut on.
        places: [R], the position of each row in the window.
        cuts: [B], the first position of the other video.
    """
    return torch.where((places < cuts[:, None])[:, :, None], rows, others)


def spliced_target(target: Tensor, positions: Tensor, cuts: Tensor) -> Tensor:
    """Return the target [B, S, S] of spliced windows: on either side of the cut 0.5, which is cosine 0: unrelated.

    Args:
        target: [S, S], that of windows without a cut.
        positions: [S], the compared positions of a window.
        cuts: [B], the first position of the other video.
    """
    after = positions >= cuts[:, None]
    return torch.where(after[:, :, None] == after[:, None, :], target, 0.5)


def slow_directions(videos: Iterable[np.ndarray], count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean [C] of all rows, and directions [C, K] whose projections vary by 1 and change least in a step.

    They minimize d'Dd / d'Sd, with S the covariance of the rows, shrunk, and D the mean product of the differences
    between neighboring rows of a video; the slowest is the first.

    Args:
        videos: sequences [T, C].
        count: K.

    Source: Wiskott and Sejnowski, "Slow Feature Analysis", Neural Computation 2002, linear case.
    """
    sequences = [rows.astype(np.float64) for rows in videos]
    rows = np.concatenate(sequences)
    changes = np.concatenate([np.diff(sequence, axis=0) for sequence in sequences])
    mean = rows.mean(axis=0)
    values, axes = np.linalg.eigh((rows - mean).T @ (rows - mean) / len(rows))
    values = np.maximum(values, 0)
    whitening = axes / np.sqrt(values + SHRINKAGE * values.mean() + np.finfo(np.float64).tiny)
    speeds = changes @ whitening
    _, slow = np.linalg.eigh(speeds.T @ speeds / len(changes))
    return mean, whitening @ slow[:, :count]

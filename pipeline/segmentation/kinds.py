"""Group segments of all videos into kinds that recur: k-means on directions, the number of kinds by the silhouette."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import PipelineError

_MOST_KINDS = 20  # that the silhouette chooses from
_STARTS = 8
_ROUNDS = 100
_LEARNED = 20_000  # segments that the centers are learned from
_COMPARED = 2_000  # segments that the silhouette is computed on

Rows = NDArray[np.float32]
Labels = NDArray[np.int64]


@dataclass(frozen=True)
class Kinds:
    """The kinds of S segments.

    Args:
        labels: [S] int64, each segment's kind, 0 to K - 1.
        likeness: [S], the cosine of each segment and the center of its kind.
        silhouettes: of each number of kinds that was tried; empty if the number was given.
    """

    labels: Labels
    likeness: NDArray[np.float64]
    silhouettes: dict[int, float]


def find_kinds(directions: Rows, count: int | None = None) -> Kinds:
    """Group segments by direction. The result is the same in every run.

    Args:
        directions: [S, C], of unit length.
        count: number of kinds; None: from 2 to 20, the one of the largest silhouette. Never more than segments.

    Raises:
        PipelineError: `count` is below 1.
    """
    if count is not None and count < 1:
        raise PipelineError(f"kinds must be >= 1, got {count}")
    total = len(directions)
    sample = directions[_spread(total, _LEARNED)]
    silhouettes: dict[int, float] = {}
    if count is None and total > 2:
        compared = sample[_spread(len(sample), _COMPARED)]
        for number in range(2, min(_MOST_KINDS, total - 1) + 1):
            labels = (compared @ _centers(sample, number).T).argmax(axis=1)
            silhouettes[number] = silhouette(compared, labels)
        count = max(silhouettes, key=lambda number: silhouettes[number])
    centers = _centers(sample, min(count or 1, total))
    cosines = directions @ centers.T
    labels = cosines.argmax(axis=1)
    return Kinds(labels, cosines[np.arange(total), labels].astype(np.float64), silhouettes)


def silhouette(directions: Rows, labels: Labels) -> float:
    """Return the mean silhouette of unit rows [S, C] with distance 1 - cosine; that of a lone row is 0.

    Source: Rousseeuw 1987, Silhouettes: a graphical aid.
    """
    names, labels = np.unique(labels, return_inverse=True)
    if len(names) < 2:
        return 0.0
    distance = 1 - (directions @ directions.T).astype(np.float64)
    np.fill_diagonal(distance, 0)
    sizes = np.bincount(labels)
    sums = distance @ np.eye(len(names))[labels]  # [S, K], to all of a kind
    own = np.arange(len(labels)), labels
    within = sums[own] / np.maximum(sizes[labels] - 1, 1)
    means = sums / sizes
    means[own] = np.inf
    nearest = means.min(axis=1)
    widths = (nearest - within) / np.maximum(np.maximum(nearest, within), np.finfo(float).tiny)
    return float(np.where(sizes[labels] > 1, widths, 0).mean())


def _spread(total: int, most: int) -> NDArray[np.int64]:
    """Return at most `most` places in 0..total - 1, evenly spread."""
    return np.unique(np.linspace(0, total - 1, min(most, total)).astype(np.int64))


def _centers(directions: Rows, count: int) -> Rows:
    """Return the centers [K, C], of unit length, of the best of several starts of spherical k-means."""
    found = [_k_means(directions, count, np.random.default_rng([count, start])) for start in range(_STARTS)]
    return max(found, key=lambda one: one[1])[0]


def _k_means(directions: Rows, count: int, rng: np.random.Generator) -> tuple[Rows, float]:
    """Return centers and the sum of the cosines of all rows to their nearest center.

    Source: Dhillon and Modha 2001 (spherical k-means); Arthur and Vassilvitskii 2007 (k-means++) for the start.
    """
    centers = directions[[int(rng.integers(len(directions)))]]
    while len(centers) < count:
        far = np.maximum(1 - (directions @ centers.T).max(axis=1), 0).astype(np.float64)
        share = far / far.sum() if far.sum() > 0 else None
        centers = np.concatenate([centers, directions[[rng.choice(len(directions), p=share)]]])
    labels = np.full(len(directions), -1)
    for _ in range(_ROUNDS):
        cosines = directions @ centers.T
        nearest = cosines.argmax(axis=1)
        if (nearest == labels).all():
            break
        labels = nearest
        for kind in range(count):  # a center that has lost all rows stays where it is
            total = directions[labels == kind].sum(axis=0)
            if length := float(np.linalg.norm(total)):
                centers[kind] = total / length
    return centers, float((directions @ centers.T).max(axis=1).sum())

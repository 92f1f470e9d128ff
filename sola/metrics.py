"""Scores of a classifier that separates foreground from background snippets."""

import numpy as np


def distance_to_boundary(foreground: np.ndarray) -> np.ndarray:
    """Return each snippet's distance to the nearest change between foreground and background, in snippets, [T] int64.

    The two snippets at a change have distance 1; without any change all have the largest int64.

    Args:
        foreground: [T] bool.
    """
    place = np.arange(len(foreground))
    nearest = np.full(len(foreground), np.iinfo(np.int64).max)
    for change in np.flatnonzero(foreground[1:] != foreground[:-1]) + 1:  # first snippet after the change
        nearest = np.minimum(nearest, np.where(place >= change, place - change + 1, change - place))
    return nearest


def balanced_accuracy(foreground: np.ndarray, scores: np.ndarray) -> float:
    """Return the mean of the shares of foreground and of background that are classified correctly.

    Args:
        foreground: [N] bool, both classes present.
        scores: [N], foreground is predicted where > 0.
    """
    predicted = scores > 0
    return float((predicted[foreground].mean() + (~predicted[~foreground]).mean()) / 2)


def average_precision(foreground: np.ndarray, scores: np.ndarray) -> float:
    """Return the sum over all thresholds of precision times gain in recall; snippets of equal score enter together.

    Args:
        foreground: [N] bool, at least one True.
        scores: [N], high for foreground.
    """
    order = np.argsort(-scores, kind="stable")
    ranked, hits = scores[order], np.cumsum(foreground[order])
    last_of_score = np.append(np.flatnonzero(ranked[1:] != ranked[:-1]), len(ranked) - 1)
    precision = hits[last_of_score] / (last_of_score + 1)
    recall = hits[last_of_score] / hits[-1]
    return float(np.sum(precision * np.diff(recall, prepend=0.0)))

"""Segments that texts describe: similarity over time, smoothed, calibrated, and thresholded. Nothing is trained."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.errors import PipelineError
from pipeline.heads.actionness import group_runs
from pipeline.heads.base import Head
from pipeline.heads.candidates import Candidates
from pipeline.heads.config import HeadConfig
from pipeline.heads.targets import SegmentTargets

# Weights of a row and its neighbors: single frames are noisy, and actions last longer than a row.
SMOOTHING = (1.0, 2.0, 3.0, 2.0, 1.0)


class TextQueryHead(Head):
    """Compares features with texts; without weights of its own.

    Args:
        texts: [K + 1, C], of length 1: the queries, then the background.
        scale: turns a cosine into a logit; the model's own.
    """

    texts: Tensor

    def __init__(self, texts: Tensor, scale: float) -> None:
        super().__init__(texts.shape[1], len(texts) - 1, HeadConfig(kind="actionness"))
        self.scale = scale
        self.register_buffer("texts", texts)

    def forward(self, features: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Return the probabilities [B, T, K] of the queries, and the mask; arguments as in `Head.forward`."""
        found = torch.zeros(*features.shape[:2], self.num_classes, device=features.device)
        for rows, valid, target in zip(features, mask, found, strict=True):
            similarities = F.normalize(rows[valid], dim=1) @ self.texts.T
            target[valid] = query_probabilities(similarities, self.scale)
        return found, mask

    def loss(self, outputs: tuple[Tensor, Tensor], targets: Sequence[SegmentTargets]) -> dict[str, Tensor]:
        """Raise PipelineError: there is nothing to train."""
        raise PipelineError("text queries are not trained; train a head with `train`")

    def candidates(self, outputs: tuple[Tensor, Tensor], *, min_score: float) -> list[Candidates]:
        """Return the runs above each threshold, as the actionness head does; scored as in `group_runs`."""
        found = []
        for probabilities, mask in zip(*outputs, strict=True):
            runs = group_runs(probabilities[mask], self.config.actionness_thresholds)
            found.append(runs.select(runs.scores >= min_score))
        return found


def query_probabilities(similarities: Tensor, scale: float) -> Tensor:
    """Return the probability of each query at each row, [T, K]: against the other queries and the background.

    Args:
        similarities: [T, K + 1] cosines with the queries and, last, the background.
        scale: > 0; the larger, the more the best text takes all.
    """
    return (scale * smoothed(similarities)).softmax(dim=1)[:, :-1]


def smoothed(series: Tensor) -> Tensor:
    """Return the weighted means [T, K] of rows and their neighbors, `SMOOTHING`; at the ends, of those that exist.

    Args:
        series: [T, K] float.
    """
    weights = torch.tensor(SMOOTHING, dtype=series.dtype, device=series.device)[None, None]
    sums = F.conv1d(series.T[:, None], weights, padding=len(SMOOTHING) // 2)
    counts = F.conv1d(torch.ones_like(series[:, 0])[None, None], weights, padding=len(SMOOTHING) // 2)
    return (sums / counts)[:, 0].T

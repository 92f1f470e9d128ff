"""From a head's candidates, in snippets, to segments in seconds inside the video."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.annotations.segments import snippets_to_seconds


@dataclass(frozen=True)
class Candidates:
    """N scored segments of one video: ``segments`` [N, 2] float, ``labels`` [N] int64, ``scores`` [N] float."""

    segments: Tensor
    labels: Tensor
    scores: Tensor

    def __len__(self) -> int:
        return len(self.scores)

    def select(self, index: Tensor) -> "Candidates":
        """Those at ``index`` (positions, or a bool mask), in its order."""
        return Candidates(self.segments[index], self.labels[index], self.scores[index])

    def best(self, count: int) -> "Candidates":
        """The ``count`` of highest score, highest first; equal scores stay in their order."""
        return self.select(torch.sort(self.scores, descending=True, stable=True).indices[:count])

    def on_cpu_in_double(self) -> "Candidates":
        """The same on the CPU, segments and scores in float64."""
        return Candidates(self.segments.cpu().double(), self.labels.cpu(), self.scores.cpu().double())

    @staticmethod
    def join(parts: Sequence["Candidates"]) -> "Candidates":
        """All parts (at least one) in their order."""
        return Candidates(
            torch.cat([part.segments for part in parts]),
            torch.cat([part.labels for part in parts]),
            torch.cat([part.scores for part in parts]),
        )


def to_seconds(
    candidates: Candidates, *, stride_seconds: float, window_seconds: float, duration_seconds: float
) -> Candidates:
    """The candidates in seconds, clipped to [0, duration]; those that are then empty are dropped."""
    seconds = snippets_to_seconds(
        candidates.segments, stride_seconds=stride_seconds, window_seconds=window_seconds
    ).clamp(0.0, duration_seconds)
    clipped = Candidates(seconds, candidates.labels, candidates.scores)
    return clipped.select(seconds[:, 1] > seconds[:, 0])


def tiou(one: Tensor, many: Tensor) -> Tensor:
    """Temporal intersection over union of segments [..., 2], broadcast; 0 where both are empty."""
    overlap = (torch.minimum(one[..., 1], many[..., 1]) - torch.maximum(one[..., 0], many[..., 0])).clamp(min=0)
    union = (one[..., 1] - one[..., 0]) + (many[..., 1] - many[..., 0]) - overlap
    return torch.where(union > 0, overlap / union, 0.0)

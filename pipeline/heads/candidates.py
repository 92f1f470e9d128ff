"""Candidates of a head, and their conversion from snippets to seconds."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.annotations.segments import snippets_to_seconds
from pipeline.snippets import SnippetPlan


@dataclass(frozen=True)
class Candidates:
    """N scored segments of one video: `segments` [N, 2] float, `labels` [N] int64, `scores` [N] float."""

    segments: Tensor
    labels: Tensor
    scores: Tensor

    def __len__(self) -> int:
        return len(self.scores)

    def select(self, index: Tensor) -> "Candidates":
        """Return the candidates at `index` (positions, or a bool mask), in its order."""
        return Candidates(self.segments[index], self.labels[index], self.scores[index])

    def best(self, count: int) -> "Candidates":
        """Return the `count` candidates of highest score, highest first; equal scores keep their order."""
        return self.select(torch.sort(self.scores, descending=True, stable=True).indices[:count])

    def on_cpu_in_double(self) -> "Candidates":
        """Return the candidates on the CPU, segments and scores in float64."""
        return Candidates(self.segments.cpu().double(), self.labels.cpu(), self.scores.cpu().double())

    @staticmethod
    def join(parts: Sequence["Candidates"]) -> "Candidates":
        """Return all parts (at least one), joined in order."""
        return Candidates(
            torch.cat([part.segments for part in parts]),
            torch.cat([part.labels for part in parts]),
            torch.cat([part.scores for part in parts]),
        )


@dataclass(frozen=True)
class RowTimes:
    """What the rows of a video mean, in seconds: stride between them, window of one, and duration of the video."""

    stride_seconds: float
    window_seconds: float
    duration_seconds: float

    @classmethod
    def of(cls, plan: SnippetPlan, duration_seconds: float) -> "RowTimes":
        """Return those of a video that `plan` cuts into snippets."""
        return cls(float(plan.stride_seconds), float(plan.window_seconds), duration_seconds)


def to_seconds(candidates: Candidates, times: RowTimes) -> Candidates:
    """Return the candidates in seconds, clipped to [0, duration], without those that are then empty."""
    seconds = snippets_to_seconds(
        candidates.segments, stride_seconds=times.stride_seconds, window_seconds=times.window_seconds
    ).clamp(0.0, times.duration_seconds)
    clipped = Candidates(seconds, candidates.labels, candidates.scores)
    return clipped.select(seconds[:, 1] > seconds[:, 0])


def tiou(one: Tensor, many: Tensor) -> Tensor:
    """Return the temporal intersection over union of segments [..., 2], broadcast; 0 where both are empty.

    `pipeline.metrics.matching.tiou_array` is the same for NumPy arrays, so that evaluation does not load torch.
    """
    overlap = (torch.minimum(one[..., 1], many[..., 1]) - torch.maximum(one[..., 0], many[..., 0])).clamp(min=0)
    union = (one[..., 1] - one[..., 0]) + (many[..., 1] - many[..., 0]) - overlap
    return torch.where(union > 0, overlap / union, 0.0)

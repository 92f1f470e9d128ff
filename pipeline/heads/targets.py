"""Assign segments to points of the pyramid: center sampling, a range for each level, shortest segment first."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

# If lengths of segments differ by less than this (snippets), their common point learns the labels of all of them.
SAME_LENGTH_SNIPPETS = 1e-3


@dataclass(frozen=True)
class SegmentTargets:
    """The segments of one video or crop: `segments` [N, 2] float in snippets, `labels` [N] int64."""

    segments: Tensor
    labels: Tensor

    def to(self, device: torch.device) -> "SegmentTargets":
        """Return the targets on `device`."""
        return SegmentTargets(self.segments.to(device), self.labels.to(device))


def assign_points(
    points: Tensor,
    targets: SegmentTargets,
    *,
    stride: int,
    range_snippets: tuple[float, float],
    center_sample_radius: float,
    num_classes: int,
) -> tuple[Tensor, Tensor]:
    """Return (classes [T, K] of 0 and 1, distances [T, 2] to start and end in units of `stride`) for one level.

    A point learns a segment if it lies inside, at most `center_sample_radius * stride` from its center, and the
    farther boundary is within the level's range. Of several segments it takes the shortest. A point without a
    segment has a row of zeros in both.

    Args:
        points: [T] float, in snippets.
        stride: of the level, in snippets.
        range_snippets: (low, high], of the distance to the farther boundary.
        num_classes: K.

    Source: Zhang et al. 2022 (arXiv 2202.07925), section 3.3.
    """
    classes = points.new_zeros(len(points), num_classes)
    if len(targets.segments) == 0:
        return classes, points.new_zeros(len(points), 2)
    start, end = targets.segments.to(points).unbind(dim=1)
    to_boundaries = torch.stack([points[:, None] - start, end - points[:, None]], dim=-1)  # [T, N, 2]
    inside = to_boundaries.amin(dim=-1) > 0
    farther = to_boundaries.amax(dim=-1)
    in_range = (farther > range_snippets[0]) & (farther <= range_snippets[1])
    central = (points[:, None] - (start + end) / 2).abs() <= center_sample_radius * stride
    matches = inside & in_range & central

    lengths = torch.where(matches, end - start, torch.inf)  # [T, N]
    shortest, index = lengths.min(dim=1)
    positive = torch.isfinite(shortest)
    sharing = matches & (lengths <= shortest[:, None] + SAME_LENGTH_SNIPPETS)
    row, segment = sharing.nonzero(as_tuple=True)
    classes[row, targets.labels[segment]] = 1
    distances = to_boundaries[torch.arange(len(points), device=points.device), index] / stride
    return classes, torch.where(positive[:, None], distances, 0.0)


def assign_batch(
    level_points: Sequence[Tensor],
    batch: Sequence[SegmentTargets],
    *,
    strides: Sequence[int],
    ranges_snippets: Sequence[tuple[float, float]],
    center_sample_radius: float,
    num_classes: int,
) -> tuple[Tensor, Tensor]:
    """Return `assign_points` of each video for all levels, joined along the points: ([B, P, K], [B, P, 2])."""
    classes, distances = [], []
    for targets in batch:
        levels = [
            assign_points(
                points,
                targets,
                stride=stride,
                range_snippets=range_snippets,
                center_sample_radius=center_sample_radius,
                num_classes=num_classes,
            )
            for points, stride, range_snippets in zip(level_points, strides, ranges_snippets, strict=True)
        ]
        classes.append(torch.cat([level[0] for level in levels]))
        distances.append(torch.cat([level[1] for level in levels]))
    return torch.stack(classes), torch.stack(distances)

"""A target that depends on the input: beyond the paper, off by default.

The published target depends on time only. It asks two snippets on either side of a boundary to be as similar as two
inside a segment, so the module learns to smooth boundaries away. Here an interval is longer where the input changes.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from sola.device import sent
from sola.distributed import Total, no_reduction

# Compared positions on each side of a gap, whose means are compared: single snippets differ by noise.
SIDE = 3


def input_aware_target(
    x: Tensor,
    k: float,
    *,
    weight: float,
    contrast: float,
    valid: Tensor | None = None,
    total: Total = no_reduction,
) -> Tensor:
    """Return a target [B, S, S] in [0, 1] whose intervals are measured along the input.

    The distance from one compared position to the next is (1 - weight) + weight * c / mean(c), and the interval of two
    positions is the sum of the distances between them. c is the change there to the power of the contrast; the change
    is 1 - cos of the means of up to three unit vectors before and after; mean(c) is over the batch, so that intervals
    keep their length on average. With weight 0 the target depends on time alone.

    Args:
        x: input features [B, S, C] of the compared positions.
        k: sharpness of the target, > 0.
        weight: 0 to 1.
        contrast: > 0; the larger, the more the largest changes stand out.
        valid: [B, S] bool, positions inside the video; all if None.
        total: sums over the processes that share the batch (all-reduce).
    """
    with torch.no_grad():
        inside = x.new_ones(x.shape[:2]) if valid is None else sent(valid, x.device).to(x.dtype)
        change = _changes(F.normalize(x, dim=-1) * inside[:, :, None]) ** contrast
        both = inside[:, :-1] * inside[:, 1:]
        changes, gaps = total(torch.stack([(change * both).sum(), both.sum()]))
        mean = changes / gaps.clamp_min(1)
        way = (1 - weight) + weight * change / mean.clamp_min(torch.finfo(x.dtype).tiny)
        place = torch.cat([way.new_zeros(len(x), 1), way.cumsum(dim=1)], dim=1)
        interval = place[:, :, None] - place[:, None, :]
        # At interval 0, k / 0 is infinite, and its sigmoid is 1, as wanted.
        return torch.sigmoid(k / interval.square())


def _changes(unit: Tensor) -> Tensor:
    """Return 1 - cos between the sums before and after each gap, [B, S - 1]; a sum has the direction of its mean."""
    size = unit.shape[1]
    gaps = range(1, size)
    before = torch.stack([unit[:, max(0, g - SIDE) : g].sum(dim=1) for g in gaps], dim=1)
    after = torch.stack([unit[:, g : g + SIDE].sum(dim=1) for g in gaps], dim=1)
    return (1 - F.cosine_similarity(before, after, dim=-1)).clamp_min(0)

"""The actionness head, a baseline: classifies snippets; runs of snippets above several thresholds are candidates."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pipeline.heads.base import Head
from pipeline.heads.blocks import ChannelNorm, MaskedConv
from pipeline.heads.candidates import Candidates
from pipeline.heads.config import HeadConfig
from pipeline.heads.targets import SegmentTargets
from sola.device import chosen_rows, sent

# How much of each side of a run its score is compared with, as a share of its length.
OUTER_SHARE = 0.25


@dataclass(frozen=True)
class ActionnessOutput:
    """Per-snippet `logits` [B, T, K] of each class; `mask` [B, T] bool, True where valid."""

    logits: Tensor
    mask: Tensor


class ActionnessHead(Head):
    """Classifies each snippet, linearly or after a few convolutions, and groups neighbors into segments."""

    def __init__(self, channels: int, num_classes: int, config: HeadConfig) -> None:
        super().__init__(channels, num_classes, config)
        widths = [channels] + [config.embed_dim] * config.tower_layers
        self.hidden = nn.ModuleList(
            MaskedConv(before, after, config.kernel) for before, after in itertools.pairwise(widths)
        )
        self.norms = nn.ModuleList(ChannelNorm(width) for width in widths[1:])
        self.dropout = nn.Dropout(config.dropout)
        self.classify = MaskedConv(widths[-1], num_classes, 1)

    def forward(self, features: Tensor, mask: Tensor) -> ActionnessOutput:
        """Return the class logits of each snippet; arguments as in `Head.forward`."""
        x, valid = self._prepare(features, mask)
        for conv, norm in zip(self.hidden, self.norms, strict=True):
            x = F.relu(norm(conv(x, valid)))
        return ActionnessOutput(self.classify(self.dropout(x), valid).transpose(1, 2), mask)

    def loss(self, outputs: ActionnessOutput, targets: Sequence[SegmentTargets]) -> dict[str, Tensor]:
        """Return {"classification": mean binary cross-entropy over valid snippets and classes}."""
        wanted = torch.stack([snippet_shares(t, *outputs.logits.shape[1:]) for t in targets])
        wanted = sent(wanted, outputs.logits.device)
        losses = F.binary_cross_entropy_with_logits(outputs.logits, wanted, reduction="none")
        return {"classification": chosen_rows(losses, outputs.mask).mean()}

    def candidates(self, outputs: ActionnessOutput, *, min_score: float) -> list[Candidates]:
        """Return the runs above each threshold, for each sequence of the batch; scored as in `group_runs`."""
        found = []
        for logits, mask in zip(outputs.logits, outputs.mask, strict=True):
            runs = group_runs(logits[mask].sigmoid(), self.config.actionness_thresholds)
            found.append(runs.select(runs.scores >= min_score))
        return found


def snippet_shares(targets: SegmentTargets, length: int, num_classes: int) -> Tensor:
    """Return [length, num_classes]: the largest share of each snippet's cell that a segment of the class covers.

    The cell of snippet i reaches from i - 0.5 to i + 0.5.
    """
    centers = torch.arange(length, device=targets.segments.device, dtype=torch.float32)[:, None]
    overlap = (centers + 0.5).minimum(targets.segments[:, 1]) - (centers - 0.5).maximum(targets.segments[:, 0])
    shares = torch.zeros(length, num_classes, device=centers.device)
    index = targets.labels[None].expand(length, -1)
    return shares.scatter_reduce(1, index, overlap.clamp(min=0), reduce="amax")


def group_runs(probabilities: Tensor, thresholds: Sequence[float]) -> Candidates:
    """Return the maximal runs of snippets at or above each threshold, each run once.

    The score is the mean probability inside the run minus that outside it (a quarter of its length on either side,
    at least one snippet), but not below 0: a run that ends before the action does scores low.

    Args:
        probabilities: [T, K] float.
        thresholds: > 0.

    Source: the outer-inner contrast of Shou et al. 2018, "AutoLoc" (arXiv 1807.08333), equation 4.
    """
    length = len(probabilities)
    levels = torch.tensor(thresholds, device=probabilities.device)
    above = probabilities.T.unsqueeze(0) >= levels[:, None, None]  # [N, K, T]
    change = F.pad(above.to(torch.int8), (1, 1)).diff(dim=-1)  # [N, K, T + 1]
    # Starts and ends alternate along time, so both lists have the same order.
    _, label, start = (change == 1).nonzero(as_tuple=True)
    _, _, end = (change == -1).nonzero(as_tuple=True)
    key = (label * (length + 1) + start) * (length + 1) + end
    key = key.unique()
    end = key % (length + 1)
    start = key.div(length + 1, rounding_mode="floor") % (length + 1)
    label = key.div((length + 1) ** 2, rounding_mode="floor")

    sums = F.pad(probabilities.double().cumsum(dim=0), (0, 0, 1, 0))  # [T + 1, K]

    def total(begin: Tensor, stop: Tensor) -> Tensor:
        return sums[stop, label] - sums[begin, label]

    inside = total(start, end) / (end - start)
    margin = ((end - start) * OUTER_SHARE).ceil().long()
    before, after = (start - margin).clamp(min=0), (end + margin).clamp(max=length)
    outer_count = (start - before) + (after - end)
    outside = (total(before, start) + total(end, after)) / outer_count.clamp(min=1)
    segments = torch.stack([start, end], dim=1) - 0.5
    return Candidates(segments, label, (inside - outside).clamp(min=0).float())

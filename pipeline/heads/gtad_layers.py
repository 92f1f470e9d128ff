"""Layers of G-TAD: graph convolution over snippets, and alignment of sub-graphs to vectors of fixed size.

Letters: B batch, T snippets, C channels, J neighbors, A anchors (pairs of first and last snippet), S samples.

Source: Xu et al. 2020, "G-TAD" (arXiv 1911.11462), sections 3.2 and 3.3.
"""

import functools

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pipeline.heads.blocks import MaskedConv


def nearest_neighbors(x: Tensor, mask: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return positions [B, T, J] of the valid snippets nearest in feature space, and [B, T, J] bool: which exist.

    A snippet is its own neighbor. J is `count`, or T if that is less. Where fewer snippets are valid, the bool is
    False and the position is arbitrary.

    Args:
        x: [B, C, T] float.
        mask: [B, 1, T] float, 1 where valid.
    """
    with torch.no_grad():
        squares = x.square().sum(dim=1)
        distance = squares[:, :, None] + squares[:, None] - 2 * x.transpose(1, 2) @ x
        distance = distance.masked_fill(mask == 0, torch.inf)
        # Despite rounding, a snippet must be nearer to itself than an equal snippet is.
        distance.diagonal(dim1=1, dim2=2).fill_(-1.0)
        nearest = distance.topk(min(count, x.shape[2]), dim=2, largest=False)
    return nearest.indices, torch.isfinite(nearest.values)


def gather_positions(x: Tensor, positions: Tensor) -> Tensor:
    """Return the columns of `x` [B, C, T] at `positions` [B, T, J], [B, C, T, J]."""
    batch, channels, length = x.shape
    flat = positions.reshape(batch, 1, -1).expand(-1, channels, -1)
    return x.gather(2, flat).reshape(batch, channels, length, positions.shape[2])


class GcnextBlock(nn.Module):
    """Residual sum of a convolution along time and one along semantic edges, both split into groups."""

    def __init__(self, width: int, *, kernel: int, groups: int, neighbors: int) -> None:
        super().__init__()
        inner = width // 2
        self.neighbors = neighbors
        self.time_in = MaskedConv(width, inner, 1)
        self.time_mix = MaskedConv(inner, inner, kernel, groups=groups)
        self.time_out = MaskedConv(inner, width, 1)
        self.edge_in = nn.Conv2d(2 * width, inner, 1)
        self.edge_mix = nn.Conv2d(inner, inner, 1, groups=groups)
        self.edge_out = nn.Conv2d(inner, width, 1)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Return [B, C, T] from [B, C, T] and the mask [B, 1, T]."""
        along_time = F.relu(self.time_mix(F.relu(self.time_in(x, mask)), mask))
        out: Tensor = x + self.time_out(along_time, mask) + self._semantic(x, mask)
        return F.relu(out) * mask

    def _semantic(self, x: Tensor, mask: Tensor) -> Tensor:
        positions, exists = nearest_neighbors(x, mask, self.neighbors)
        no_reduction = x[..., None].expand(-1, -1, -1, positions.shape[2])
        edges = torch.cat([no_reduction, gather_positions(x, positions) - no_reduction], dim=1)
        edges = self.edge_out(F.relu(self.edge_mix(F.relu(self.edge_in(edges)))))
        # A snippet is always its own neighbor, so the maximum has something to choose from.
        out: Tensor = edges.masked_fill(~exists[:, None], -torch.inf).amax(dim=3)
        return torch.where(mask > 0, out, 0.0)


def neighbor_mean(x: Tensor, mask: Tensor, count: int) -> Tensor:
    """Return the mean of each snippet's nearest neighbors' features, [B, C, T], 0 under padding."""
    positions, exists = nearest_neighbors(x, mask, count)
    weight = exists[:, None].to(x.dtype)
    return (gather_positions(x, positions) * weight).sum(dim=3) / weight.sum(dim=3) * mask


@functools.lru_cache(maxsize=8)
def anchor_rows(length: int, longest: int, device: torch.device) -> Tensor:
    """Return [A, 2] int64: first row, and row after the last, of every run of 1 to `longest` of `length` rows."""
    durations = torch.arange(1, min(longest, length) + 1)
    counts = length - durations + 1
    duration = durations.repeat_interleave(counts)
    first = torch.cat([torch.arange(int(count)) for count in counts])
    return torch.stack([first, first + duration], dim=1).to(device)


@functools.lru_cache(maxsize=8)
def sample_weights(
    length: int, longest: int, samples: int, context: float, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Return (index [A, 2 S] int64, weight [A, 2 S]) for linear interpolation at S points along each anchor.

    Points are the middles of S equal parts of the anchor, extended by `context` times its length on either side.
    `index` counts through [S, T] row by row; points outside the sequence have weight 0.
    """
    anchors = anchor_rows(length, longest, torch.device("cpu")).float()
    extent = anchors[:, 1] - anchors[:, 0]
    begin = anchors[:, 0] - 0.5 - context * extent
    parts = (torch.arange(samples) + 0.5) / samples
    position = begin[:, None] + parts * ((1 + 2 * context) * extent)[:, None]  # [A, S]
    below = position.floor()
    rows = torch.stack([below, below + 1], dim=2).long()
    weight = torch.stack([below + 1 - position, position - below], dim=2)
    weight = torch.where((rows >= 0) & (rows < length), weight, 0.0)
    index = rows.clamp(0, length - 1) + torch.arange(samples)[:, None] * length
    return index.flatten(1).to(device), weight.flatten(1).to(device)


class AlignSubGraphs(nn.Module):
    """SGAlign and the dense layer after it: joins the samples of each anchor and projects them to one vector.

    Sampling is linear, so this projects every snippet once for each sample position and then samples. The result is
    the same as sampling, joining and projecting, without holding all samples of all anchors in memory.
    """

    def __init__(self, inputs: int, outputs: int, *, samples: int, context: float) -> None:
        super().__init__()
        self.outputs, self.samples, self.context = outputs, samples, context
        self.project = nn.Conv1d(inputs, samples * outputs, 1, bias=False)
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, x: Tensor, *, longest: int) -> Tensor:
        """Return [B, A, outputs] from `x` [B, inputs, T], which is 0 under padding."""
        batch, _, length = x.shape
        index, weight = sample_weights(length, longest, self.samples, self.context, x.device)
        projected = self.project(x).reshape(batch, self.samples, self.outputs, length)
        table = projected.permute(1, 3, 0, 2).reshape(self.samples * length, batch * self.outputs)
        # embedding_bag computes a weighted sum of table rows for each anchor.
        summed = F.embedding_bag(index, table, per_sample_weights=weight.to(x.dtype), mode="sum")
        return summed.reshape(-1, batch, self.outputs).transpose(0, 1) + self.bias

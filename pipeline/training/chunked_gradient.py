"""The gradient of a loss on the features of a window, through the encoder, with the memory of one chunk of snippets.

Two passes. The first encodes all snippets without a graph, and the loss gives its gradient for each feature. The second
encodes one chunk after the other again, with a graph, and hands each its part of that gradient:

    dL/dθ = sum over chunks c of (df_c/dθ)ᵀ dL/df_c

This is exact where no snippet's feature depends on another snippet: no batch norm in training mode, and the same
snippets and no dropout in both passes. It takes four forward passes' time in place of three.

With a random share of the snippets in the second pass, each part is divided by the share. The mean over all draws is
then the exact gradient.

Source: Liu et al., CVPR Workshops 2023 (ETAD, arXiv 2205.07134): the two passes and the sampling, there without the
division.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sola.distributed import ALONE, Team

Encode = Callable[[Tensor], Tensor]
"""Snippets [n, ...] to features [n, C], each from its own snippet alone."""

Read = Callable[[Sequence[int]], Tensor]
"""Numbers of n snippets to the snippets [n, ...]; the same number gives the same snippet every time."""


@dataclass(frozen=True)
class ChunkedEncoder:
    """An encoder that reads `chunk` snippets at a time."""

    encode: Encode
    read: Read
    chunk: int

    @torch.no_grad()
    def features(self, rows: Sequence[int], *, team: Team = ALONE) -> Tensor:
        """Return the features [n, C] of the snippets `rows` (one or more), without a graph; ranks share the work."""
        mine = team.shard(len(rows))
        own = rows[mine] or rows[:1]  # a rank without a snippet encodes one to learn the width
        found = torch.cat([self._encode(own, begin) for begin in range(0, len(own), self.chunk)])
        if team.size == 1:
            return found
        features = found.new_zeros((len(rows), found.shape[1]))
        features[mine] = found[: mine.stop - mine.start]
        return team.total(features)

    def backward(self, rows: Sequence[int], gradient: Tensor) -> None:
        """Add the gradient of the parameters, from the gradient [n, C] of the features of the snippets `rows`."""
        for begin in range(0, len(rows), self.chunk):
            features = self._encode(rows, begin)
            features.backward(gradient[begin : begin + self.chunk].to(features.dtype))

    def _encode(self, rows: Sequence[int], begin: int) -> Tensor:
        return self.encode(self.read(rows[begin : begin + self.chunk]))


def sampled_rows(count: int, share: float, rng: np.random.Generator) -> list[int]:
    """Return a random share of the numbers below `count`, at least one, each subset of that size equally likely."""
    if share >= 1:
        return list(range(count))
    return sorted(rng.choice(count, size=max(1, round(share * count)), replace=False).tolist())


def two_pass_gradient(
    encoder: ChunkedEncoder,
    count: int,
    losses_of: Callable[[Tensor], Mapping[str, Tensor]],
    *,
    rows: Sequence[int] | None = None,
    team: Team = ALONE,
) -> dict[str, Tensor]:
    """Add the gradient of the sum of the losses to all parameters, and return the losses, without a graph.

    Args:
        count: T, number of snippets.
        losses_of: the named losses of features [T, C]; its own parameters get their gradient here.
        rows: snippets of the second pass; their gradient is multiplied by T / n. None: all.
        team: each rank takes a shard of the snippets in both passes; the encoder's gradient is then that of the shard,
            to be summed over the ranks.
    """
    features = encoder.features(range(count), team=team).requires_grad_()
    losses = losses_of(features)
    torch.stack(list(losses.values())).sum().backward()
    assert features.grad is not None, "the losses depend on the features"
    chosen = list(range(count)) if rows is None else list(rows)
    mine = chosen[team.shard(len(chosen))]
    gradient = features.grad[mine] * (count / len(chosen))
    encoder.backward(mine, gradient)
    return {name: value.detach() for name, value in losses.items()}

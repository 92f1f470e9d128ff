"""The key network, a moving average of the one that is trained, and the queue of regions that it has encoded."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_Module = TypeVar("_Module", bound=nn.Module)


def key_copy(network: _Module) -> _Module:
    """Return a copy in evaluation mode that takes no gradient.

    In evaluation mode batch norm uses running statistics, so a key depends on its own window only. With statistics of
    the batch, query and key could tell that they are of one step, which is a shortcut to the positive.
    """
    return copy.deepcopy(network).requires_grad_(False).eval()


@torch.no_grad()
def follow(key: nn.Module, network: nn.Module, *, momentum: float) -> None:
    """Move the key's weights to momentum * key + (1 - momentum) * network; take over the running statistics.

    The statistics are moving averages already.

    Source: He et al. 2020 (MoCo), equation 2.
    """
    for slow, fast in zip(key.parameters(), network.parameters(), strict=True):
        slow.lerp_(fast, 1 - momentum)
    for kept, newest in zip(key.buffers(), network.buffers(), strict=True):
        kept.copy_(newest)


class KeyQueue:
    """The newest keys, first in, first out, each with the number of its source video.

    Args:
        size: number of places; they begin empty.
        dim: D, the length of a key.
    """

    EMPTY = -1  # source of a place that has no key yet

    def __init__(self, size: int, dim: int, device: torch.device) -> None:
        self.keys = torch.zeros(size, dim, device=device)
        self.sources = torch.full((size,), self.EMPTY, device=device)
        self._next = 0

    def push(self, keys: Tensor, sources: Tensor) -> None:
        """Put keys [N, D] in the places of the oldest ones; of more than fit, the last."""
        size = len(self.sources)
        keys, sources = keys.detach()[-size:], sources[-size:]
        places = (self._next + torch.arange(len(sources), device=self.sources.device)) % size
        self.keys[places], self.sources[places] = keys, sources
        self._next = (self._next + len(sources)) % size

    def usable(self, sources: Tensor) -> Tensor:
        """Return which places hold a key of another source than these, bool [size]."""
        return (self.sources != self.EMPTY) & ~torch.isin(self.sources, sources)

    def state(self) -> dict[str, Any]:
        """Return the content, for a checkpoint."""
        return {"keys": self.keys, "sources": self.sources, "next": self._next}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Continue from what `state` returned."""
        self.keys.copy_(state["keys"])
        self.sources.copy_(state["sources"])
        self._next = state["next"]


class PalHeads(nn.Module):
    """The projectors of regions and of moments and, if asked for, the head that locates the paste.

    Args:
        feature_dim: C of the encoder.
        projection_dim: D.
        clips: T', the windows of a synthetic video.
        locates: whether there is a head that locates the paste.
    """

    def __init__(self, feature_dim: int, projection_dim: int, *, clips: int, locates: bool) -> None:
        super().__init__()
        self.region, self.moment = _projector(feature_dim, projection_dim), _projector(feature_dim, projection_dim)
        width = 64
        layers: Sequence[nn.Module] = (
            *(nn.Conv1d(feature_dim, width, 3, padding=1), nn.ReLU(), nn.Flatten()),
            *(nn.Linear(clips * width, 2), nn.Sigmoid()),
        )
        self.locator = nn.Sequential(*layers) if locates else None

    def of_regions(self, bins: Tensor) -> Tensor:
        """Return unit vectors [N, D] of regions, from the features of their bins [N, R, C]."""
        return F.normalize(self.region(bins.mean(dim=1)), dim=-1)

    def of_moments(self, bins: Tensor) -> Tensor:
        """Return unit vectors [N, R, D] of single bins [N, R, C]."""
        return F.normalize(self.moment(bins), dim=-1)

    def located(self, features: Tensor) -> Tensor:
        """Return start and end of the paste, as shares of the synthetic video, [N, 2], from features [N, T', C]."""
        assert self.locator is not None
        found: Tensor = self.locator(features.transpose(1, 2))
        return found


def _projector(feature_dim: int, projection_dim: int) -> nn.Module:
    return nn.Sequential(nn.Linear(feature_dim, feature_dim), nn.ReLU(), nn.Linear(feature_dim, projection_dim))

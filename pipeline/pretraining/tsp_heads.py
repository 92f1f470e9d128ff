"""The heads of TAC and TSP on an encoder's features, and their losses.

Source: TSP (Alwassel et al. 2021), equations 1 to 4.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

ACTION, NO_ACTION = 0, 1  # the regions
UNLABELED = -1
_INITIAL_STD = 0.01


class TspHeads(nn.Module):
    """Linear classifiers: of the action, and of the region (action or none).

    Args:
        channels: C, of the encoder's features.
        classes: K, of actions.
        global_channels: of the global video feature; 0 for none.
        with_region: whether there is a region head (TSP) or none (TAC).
    """

    def __init__(self, channels: int, classes: int, *, global_channels: int, with_region: bool) -> None:
        super().__init__()
        self.action = nn.Linear(channels, classes)
        self.region = nn.Linear(channels + global_channels, 2) if with_region else None
        for layer in self.children():
            assert isinstance(layer, nn.Linear)
            nn.init.normal_(layer.weight, std=_INITIAL_STD)
            nn.init.zeros_(layer.bias)

    def forward(self, features: Tensor, global_features: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """Return action logits [N, K], and region logits [N, 2] if there is a region head.

        Args:
            features: [N, C].
            global_features: [N, C], of the whole video of each clip; the action head does not see them.
        """
        if self.region is None:
            return self.action(features), None
        parts = [features] if global_features is None else [features, global_features]
        return self.action(features), self.region(torch.cat(parts, dim=1))


def action_loss(logits: Tensor, places: Tensor, *, labeled: int) -> Tensor:
    """Return the cross-entropy of the labeled clips; 0, with gradient 0, if there are none.

    Args:
        logits: [N, K].
        places: int64 [N], class indices; `UNLABELED` for clips without an action.
        labeled: number of labeled clips to take the mean over: those of the whole step, of which this may be a part.
    """
    return F.cross_entropy(logits, places, ignore_index=UNLABELED, reduction="sum") / max(1, labeled)


def region_loss(logits: Tensor, regions: Tensor) -> Tensor:
    """Return the mean cross-entropy of the regions.

    Args:
        logits: [N, 2].
        regions: int64 [N], `ACTION` or `NO_ACTION`.
    """
    return F.cross_entropy(logits, regions)

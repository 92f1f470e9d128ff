"""Weights in training: the optimizer's groups, the moving average, copies."""

from typing import Any

import torch
from torch import Tensor, nn


def parameter_groups(network: nn.Module, *, weight_decay: float, share: float) -> list[dict[str, Any]]:
    """Return the optimizer's groups of a network: weights that decay, and biases and norms, which do not.

    Args:
        share: their learning rate relative to the head's, which follows the schedule.
    """
    trained = [p for p in network.parameters() if p.requires_grad]
    return [
        {"params": [p for p in trained if p.ndim >= 2], "weight_decay": weight_decay, "share": share},
        {"params": [p for p in trained if p.ndim < 2], "weight_decay": 0.0, "share": share},
    ]


@torch.no_grad()
def move_average(average: nn.Module, network: nn.Module, *, decay: float) -> None:
    """Move the average's weights towards the network's; buffers are copied."""
    # All at once: on a GPU one kernel instead of one for each of hundreds of tensors.
    torch._foreach_lerp_(list(average.parameters()), list(network.parameters()), 1 - decay)
    for kept, current in zip(average.buffers(), network.buffers(), strict=True):
        kept.copy_(current)


def copy_to_cpu(module: nn.Module) -> dict[str, Tensor]:
    """Return a copy of the weights and buffers."""
    return {name: value.detach().cpu().clone() for name, value in module.state_dict().items()}

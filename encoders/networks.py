"""Networks that turn normalised frames into features; built without weights, classifiers left out."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor, nn


class PooledBlocks(nn.Module):
    """A chain of blocks whose last feature map is averaged over time and space.

    The blocks keep their index, so that parameter names equal those of the network they come from.
    """

    def __init__(self, blocks: list[nn.Module]) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)

    def forward(self, clips: Tensor) -> Tensor:
        """Returns features float32 [B, C].

        Args:
            clips: normalised frames [B, 3, F, H, W].
        """
        features = clips
        for block in self.blocks:
            features = block(features)
        # The mean is accumulated in float32 also for half precision, where avg_pool3d has no CPU kernel.
        return features.mean(dim=(2, 3, 4), dtype=torch.float32)


class PooledImageNet(nn.Module):
    """A torchvision ResNet without its classifier: features of single frames, averaged over space."""

    def __init__(self, resnet: nn.Module) -> None:
        super().__init__()
        # The children under their own names, so that parameter names equal torchvision's.
        for name, child in resnet.named_children():
            if name not in ("avgpool", "fc"):
                self.add_module(name, child)

    def forward(self, frames: Tensor) -> Tensor:
        """Returns features float32 [B, C].

        Args:
            frames: normalised frames [B, 3, H, W].
        """
        features = frames
        for child in self.children():
            features = child(features)
        return features.mean(dim=(2, 3), dtype=torch.float32)


def _pytorchvideo(name: str) -> Any:
    """Returns a network of pytorchvideo's hub, classifier included, without weights."""
    with warnings.catch_warnings():
        # pytorchvideo is no longer maintained; its use of deprecated torch functions is no news to a user.
        warnings.simplefilter("ignore")
        from pytorchvideo.models import hub

        return getattr(hub, name)(pretrained=False)


def build_i3d_r50() -> nn.Module:
    """Returns pytorchvideo's I3D ResNet-50 without its head."""
    return PooledBlocks(list(_pytorchvideo("i3d_r50").blocks)[:-1])


def build_resnet50() -> nn.Module:
    """Returns torchvision's ResNet-50 without its classifier."""
    from torchvision.models import resnet50

    return PooledImageNet(resnet50(weights=None))

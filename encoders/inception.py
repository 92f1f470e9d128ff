"""Inception-v1 inflated to 3D (I3D), built from the paper's figure 3; the field's 1024-d features."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

# Channels of a module's branches: 1x1x1; 1x1x1 then 3x3x3; 1x1x1 then 3x3x3; pooling then 1x1x1
# (Szegedy et al. 2015, table 1).
MIXED = {
    "3b": (64, (96, 128), (16, 32), 32),
    "3c": (128, (128, 192), (32, 96), 64),
    "4b": (192, (96, 208), (16, 48), 64),
    "4c": (160, (112, 224), (24, 64), 64),
    "4d": (128, (128, 256), (24, 64), 64),
    "4e": (112, (144, 288), (32, 64), 64),
    "4f": (256, (160, 320), (32, 128), 128),
    "5b": (256, (160, 320), (32, 128), 128),
    "5c": (384, (192, 384), (48, 128), 128),
}


class ConvUnit(nn.Module):
    """Convolution, batch norm, ReLU, with TensorFlow's SAME padding for even sizes."""

    def __init__(self, channels_in: int, channels_out: int, size: int, stride: int = 1) -> None:
        super().__init__()
        # If the number of padded places, size - stride, is odd, the end gets one more.
        total = size - stride
        self.ends = (total // 2, total - total // 2) * 3 if total % 2 else None
        padding = 0 if self.ends else total // 2
        self.conv = nn.Conv3d(channels_in, channels_out, size, stride=stride, padding=padding, bias=False)
        self.norm = nn.BatchNorm3d(channels_out, eps=1e-3)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, clips: Tensor) -> Tensor:
        """Return [B, C', F', H', W'] of clips [B, C, F, H, W]."""
        if self.ends is not None:
            clips = functional.pad(clips, self.ends)
        return self.relu(self.norm(self.conv(clips)))


class Mixed(nn.Module):
    """An Inception module: four branches side by side."""

    def __init__(self, channels_in: int, name: str) -> None:
        super().__init__()
        first, second, third, fourth = MIXED[name]
        self.branch_0 = ConvUnit(channels_in, first, 1)
        self.branch_1 = nn.Sequential(ConvUnit(channels_in, second[0], 1), ConvUnit(*second, 3))
        self.branch_2 = nn.Sequential(ConvUnit(channels_in, third[0], 1), ConvUnit(*third, 3))
        self.branch_3 = nn.Sequential(nn.MaxPool3d(3, 1, padding=1), ConvUnit(channels_in, fourth, 1))
        self.channels_out = first + second[1] + third[1] + fourth

    def forward(self, clips: Tensor) -> Tensor:
        """Return the branches' channels, concatenated, [B, C', F, H, W]."""
        branches = (self.branch_0, self.branch_1, self.branch_2, self.branch_3)
        return torch.cat([branch(clips) for branch in branches], dim=1)


class InceptionI3D(nn.Module):
    """I3D Inception-v1 without its classifier, for frames whose height, width and number are multiples of 32, 32, 8.

    Source: Carreira and Zisserman 2017, figure 3.
    """

    def __init__(self, channels_in: int = 3) -> None:
        super().__init__()
        self.conv_1a = ConvUnit(channels_in, 64, 7, stride=2)
        self.conv_2b = ConvUnit(64, 64, 1)
        self.conv_2c = ConvUnit(64, 192, 3)
        channels = 192
        self.mixed = nn.ModuleDict()
        for name in MIXED:
            mixed = Mixed(channels, name)
            self.mixed[name] = mixed
            channels = mixed.channels_out
        # SAME padding at the end only, which for even sizes equals ceil_mode.
        self.pool_space = nn.MaxPool3d((1, 3, 3), (1, 2, 2), ceil_mode=True)
        self.pool_4a = nn.MaxPool3d(3, 2, ceil_mode=True)
        self.pool_5a = nn.MaxPool3d(2, 2, ceil_mode=True)

    def forward(self, clips: Tensor) -> Tensor:
        """Return features float32 [B, 1024].

        Args:
            clips: frames in [-1, 1], [B, C, F, H, W].
        """
        x = self.pool_space(self.conv_1a(clips))
        x = self.pool_space(self.conv_2c(self.conv_2b(x)))
        for name, mixed in self.mixed.items():
            if name == "4b":
                x = self.pool_4a(x)
            elif name == "5b":
                x = self.pool_5a(x)
            x = mixed(x)
        return x.mean(dim=(2, 3, 4), dtype=torch.float32)

"""Building blocks of the heads; each treats padding as the end of the sequence.

Letters: B batch, T positions, C channels, D channels of one attention head, W positions of an attention window.
Inside the networks sequences are [B, C, T] and masks are [B, 1, T] float, 1 where valid.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pipeline.errors import PipelineError


class Standardize(nn.Module):
    """(x - mean) / std for each channel, so that features of any scale work; starts as the identity."""

    mean: Tensor
    std: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("std", torch.ones(channels))

    def set(self, mean: Tensor, std: Tensor) -> None:
        """Set the mean [C] and standard deviation [C]; channels that do not vary keep a deviation of 1."""
        for name, value in (("mean", mean), ("std", std)):
            if value.shape != self.mean.shape or not torch.isfinite(value).all():
                raise PipelineError(
                    f"{name} must be {len(self.mean)} finite numbers, got a tensor of shape {tuple(value.shape)}"
                )
        self.mean.copy_(mean)
        self.std.copy_(torch.where(std > 1e-6, std, torch.ones_like(std)))

    def forward(self, features: Tensor) -> Tensor:
        """Return the standardized features, [B, T, C] like the input."""
        return (features - self.mean) / self.std


class MaskedConv(nn.Module):
    """Same-padded 1-D convolution; valid outputs do not depend on padding, padded outputs are 0."""

    def __init__(self, inputs: int, outputs: int, kernel: int, *, stride: int = 1, groups: int = 1) -> None:
        super().__init__()
        self.stride = stride
        self.conv = nn.Conv1d(inputs, outputs, kernel, stride=stride, padding=kernel // 2, groups=groups)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Return [B, outputs, ceil(T / stride)]; output position i is centered on input position i * stride."""
        out: Tensor = self.conv(x * mask)
        return out * mask[:, :, :: self.stride]


class ChannelNorm(nn.Module):
    """Layer normalization over the channels of each position of [B, C, T], on its own."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        centered = x - x.mean(dim=1, keepdim=True)
        scale = torch.rsqrt(centered.square().mean(dim=1, keepdim=True) + 1e-5)
        return centered * scale * self.weight[:, None] + self.bias[:, None]


class ConvBlock(nn.Module):
    """Residual block: norm, convolution over time, GELU, convolution over channels."""

    def __init__(self, width: int, kernel: int, dropout: float) -> None:
        super().__init__()
        self.norm = ChannelNorm(width)
        self.temporal = MaskedConv(width, width, kernel)
        self.mix = MaskedConv(width, width, 1)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        hidden = F.gelu(self.temporal(self.norm(x), mask))
        return x + self.dropout(self.mix(hidden, mask))


class DepthwiseBlock(nn.Module):
    """Residual block: each channel mixes over time on its own, at first by the mean; then two layers over channels.

    Unlike a full convolution it cannot learn its training videos by heart. Source: Yu et al. 2022, "MetaFormer Is
    Actually What You Need for Vision" (arXiv 2111.11418), whose mean is fixed.
    """

    def __init__(self, width: int, kernel: int, dropout: float) -> None:
        super().__init__()
        self.norm = ChannelNorm(width)
        self.temporal = MaskedConv(width, width, kernel, groups=width)
        nn.init.constant_(self.temporal.conv.weight, 1 / kernel)
        self.mix = MaskedConv(width, width, 1)
        self.mlp = ChannelMlp(width, dropout)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        x = x + self.dropout(self.mix(self.temporal(self.norm(x), mask), mask))
        return self.mlp(x, mask)


class ChannelMlp(nn.Module):
    """Residual layers over the channels of each position."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.norm = ChannelNorm(width)
        self.expand = MaskedConv(width, 4 * width, 1)
        self.contract = MaskedConv(4 * width, width, 1)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        hidden = F.gelu(self.expand(self.norm(x), mask))
        return x + self.dropout(self.contract(hidden, mask))


class AttentionBlock(nn.Module):
    """Pre-norm transformer block whose self-attention reaches `window // 2` positions to either side."""

    def __init__(self, width: int, window: int, heads: int, kernel: int, dropout: float) -> None:
        super().__init__()
        self.window, self.heads = window, heads
        self.norm = ChannelNorm(width)
        # A depthwise convolution before queries, keys and values gives them the order of neighbors.
        self.local = MaskedConv(width, width, kernel, groups=width)
        self.qkv = MaskedConv(width, 3 * width, 1)
        self.out = MaskedConv(width, width, 1)
        self.mlp_norm = ChannelNorm(width)
        self.expand = MaskedConv(width, 4 * width, 1)
        self.contract = MaskedConv(4 * width, width, 1)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        hidden = self.local(self.norm(x), mask)
        query, key, value = self.qkv(hidden, mask).chunk(3, dim=1)
        attended = local_attention(query, key, value, mask, window=self.window, heads=self.heads)
        x = x + self.dropout(self.out(attended, mask))
        hidden = F.gelu(self.expand(self.mlp_norm(x), mask))
        return x + self.dropout(self.contract(hidden, mask))


def local_attention(query: Tensor, key: Tensor, value: Tensor, mask: Tensor, *, window: int, heads: int) -> Tensor:
    """Return the attention of each position to valid ones at most `window // 2` away, [B, C, T]; linear in T.

    Args:
        query, key, value: [B, C, T] float.
        mask: [B, 1, T] float, 1 where valid.
        window: W, odd.
        heads: number of heads; divides C.
    """
    batch, channels, length = query.shape
    split = (batch, heads, channels // heads, length)
    reach = window // 2

    def neighbors(x: Tensor) -> Tensor:  # [..., T] -> [..., T, W]
        return F.pad(x, (reach, reach)).unfold(-1, window, 1)

    logits = torch.einsum("bhdt,bhdtw->bhtw", query.reshape(split), neighbors(key.reshape(split)))
    logits = logits / math.sqrt(split[2])
    logits = logits.masked_fill(neighbors(mask) == 0, torch.finfo(logits.dtype).min)
    weights = logits.softmax(dim=-1)
    return torch.einsum("bhtw,bhdtw->bhdt", weights, neighbors(value.reshape(split))).reshape(query.shape)


def sinusoids(length: int, channels: int, *, device: torch.device) -> Tensor:
    """Return the position encoding, [channels, length].

    Source: Vaswani et al. 2017 (arXiv 1706.03762), section 3.5.
    """
    half = torch.arange((channels + 1) // 2, device=device, dtype=torch.float32)
    rates = torch.exp(-math.log(10000.0) * half / max(1, len(half)))
    angles = rates[:, None] * torch.arange(length, device=device, dtype=torch.float32)
    return torch.cat([angles.sin(), angles.cos()])[:channels]

"""Random weights for encoders: the same on every machine, with features that differ between inputs."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

# Normalizations that end a residual branch, in pytorchvideo and torchvision.
RESIDUAL_END = ("norm_c", "bn3", "conv2.1")
# A branch at full strength would multiply the features' power by about three in every block, which overflows fp16 in
# deep networks; a branch at zero would be dead. A quarter avoids both.
RESIDUAL_SCALE = 0.25


def fill_random(network: nn.Module, *, seed: int) -> None:
    """Overwrite every parameter and buffer of `network` in place, without the global random generator.

    Weights are uniform with the variance of He et al. 2015, 2 / fan_in. They come from integer draws and exactly
    rounded products only, so every machine with the same torch gets the same bits.

    Args:
        network: changed in place.
        seed: of the generator.
    """
    generator = torch.Generator().manual_seed(seed)
    norms = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.LayerNorm)
    with torch.no_grad():
        for name, module in network.named_modules():
            if isinstance(module, norms):
                _reset_norm(module, RESIDUAL_SCALE if name.endswith(RESIDUAL_END) else 1.0)
                continue
            for key, parameter in module.named_parameters(recurse=False):
                if key == "bias":
                    parameter.zero_()
                    continue
                fan_in = parameter[0].numel() if parameter.ndim > 1 else parameter.numel()
                bound = math.sqrt(6.0 / fan_in)
                draw = torch.rand(parameter.shape, generator=generator)
                parameter.copy_(draw.sub_(0.5).mul_(2.0 * bound))


def _reset_norm(norm: nn.Module, scale: float) -> None:
    """Set a normalization to the identity times `scale`."""
    for key, parameter in norm.named_parameters(recurse=False):
        parameter.fill_(scale if key == "weight" else 0.0)
    for key, buffer in norm.named_buffers(recurse=False):
        buffer.fill_(1 if key == "running_var" else 0)


def state_sha256(state: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 of named tensors: names in order, each with dtype, shape and little-endian values."""
    digest = hashlib.sha256()
    for name in sorted(state):
        array = state[name].detach().cpu().contiguous().numpy()
        digest.update(f"{name} {array.dtype.name} {array.shape}\n".encode())
        digest.update(array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes())
    return digest.hexdigest()

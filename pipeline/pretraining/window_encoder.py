"""Windows of pixels through a network that is being trained, or through a copy of it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from encoders.runtime import has_fast_bf16
from encoders.spec import EncoderSpec


def uses_bf16(precision: str, device: torch.device) -> bool:
    """Return whether the forward pass is to run in bf16: if asked for, or on auto if the hardware has it."""
    return precision == "bf16" or (precision == "auto" and (device.type == "cuda" or has_fast_bf16()))


class WindowEncoder:
    """A network with the preprocessing of its spec, as a function of windows.

    Args:
        network: takes normalized frames in the spec's layout; on `device`.
        bf16: whether the forward pass runs in bf16.
    """

    def __init__(self, network: nn.Module, spec: EncoderSpec, device: torch.device, *, bf16: bool) -> None:
        self._network, self._layout, self._device, self._bf16 = network, spec.layout, device, bf16
        self._mean = torch.tensor(spec.mean, device=device)
        self._std = torch.tensor(spec.std, device=device)

    def __call__(self, pixels: Tensor) -> Tensor:
        """Return the features, float32 [N, C], of windows, uint8 [N, F, S, S, 3]."""
        values = (pixels.to(self._device).float() / 255 - self._mean) / self._std
        with torch.autocast(self._device.type, dtype=torch.bfloat16, enabled=self._bf16):
            if self._layout == "frames":
                number, frames = values.shape[:2]
                features: Tensor = self._network(values.flatten(0, 1).permute(0, 3, 1, 2))
                features = features.view(number, frames, -1).mean(dim=1)
            else:
                features = self._network(values.permute(0, 4, 1, 2, 3))
        return features.float()

"""An encoder that learns: in evaluation mode, so that a snippet's feature depends on this snippet alone."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from encoders.runtime import SnippetNetwork
from encoders.spec import EncoderSpec
from encoders.stages import freeze_stages
from pipeline.heads.base import Head


class TrainedEncoder(nn.Module):
    """From bytes to features, with gradients. Batch norm keeps its statistics, and nothing is dropped, in training too.

    Args:
        network: the plain network of an encoder; its weights learn, but for those of its first stages.
        spec: its preprocessing.
        frozen_stages: number of these stages.
        bf16: whether it computes in bfloat16; its weights stay in float32.

    Raises:
        EncoderError: no stage would be left to learn.
    """

    def __init__(self, network: nn.Module, spec: EncoderSpec, *, frozen_stages: int, bf16: bool) -> None:
        super().__init__()
        network.requires_grad_(True)
        freeze_stages(network, frozen_stages)
        self.snippets = SnippetNetwork(network, spec, torch.float32)
        self._bf16 = bf16
        self.eval()

    @property
    def network(self) -> nn.Module:
        """The plain network."""
        return self.snippets.network

    def train(self, mode: bool = True) -> TrainedEncoder:
        """Stay in evaluation mode."""
        super().train(False)
        return self

    def forward(self, snippets: Tensor) -> Tensor:
        """Return features float32 [n, C] of snippets uint8 [n, F, S, S, 3], which may be on another device."""
        device = self.snippets.scale.device
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=self._bf16):
            features: Tensor = self.snippets(snippets.to(device, non_blocking=True))
        return features.float()


class EncoderWithHead(nn.Module):
    """All weights that are trained together."""

    def __init__(self, encoder: TrainedEncoder, head: Head) -> None:
        super().__init__()
        self.encoder, self.head = encoder, head

"""The SoLa module, a light residual network over a feature sequence, and the predictor used to fit it."""

import numpy as np
import torch
from torch import Tensor, nn

from sola.config import SolaConfig
from sola.errors import SolaError
from sola.padding import rows_beyond_ends


class SolaModule(nn.Module):
    """x + tanh(alpha) * h(x), with h a stack of "same" convolutions over time; the identity until it is fitted.

    Args:
        channels: C, channels of the features.
        config: widths, kernel sizes and dilations.

    Source: Kang et al., CVPR 2023, section 3.2. The parameters carry the names of the reference
        implementation (`conv_network.*`, `alpha`).
    """

    def __init__(self, channels: int, config: SolaConfig) -> None:
        super().__init__()
        if channels < 1:
            raise SolaError(f"channels must be >= 1, got {channels}")
        layers: list[nn.Module] = []
        inputs = channels
        for index, (kernel_size, dilation) in enumerate(zip(config.kernel_sizes, config.dilations, strict=True)):
            last = index == len(config.kernel_sizes) - 1
            outputs = channels if last else config.hidden
            radius = dilation * (kernel_size - 1) // 2
            layers.append(nn.Conv1d(inputs, outputs, kernel_size, dilation=dilation, padding=radius))
            if not last:
                layers.append(nn.ReLU())
            inputs = outputs
        self.conv_network = nn.Sequential(*layers)
        self.alpha = nn.Parameter(torch.zeros(()))
        self.padding = config.padding

    @property
    def channels(self) -> int:
        """Return C, the channels of input and output."""
        return self.convolutions[0].in_channels

    @property
    def convolutions(self) -> list[nn.Conv1d]:
        """Return the convolutions in the order in which they are applied, with a ReLU between each two."""
        return [layer for layer in self.conv_network if isinstance(layer, nn.Conv1d)]

    @property
    def receptive_radius(self) -> int:
        """Return how many snippets on each side an output depends on."""
        return sum(layer.dilation[0] * (layer.kernel_size[0] - 1) // 2 for layer in self.convolutions)

    def gate(self) -> Tensor:
        """Return the weight of the correction, a scalar."""
        return torch.tanh(self.alpha)

    def forward(self, x: Tensor) -> Tensor:
        """Return the enhanced features, shaped like the input.

        Args:
            x: features [B, T, C], T >= 1, of the module's own dtype.
        """
        if x.ndim != 3 or x.shape[1] < 1 or x.shape[2] != self.channels:
            raise SolaError(f"features must be [B, T >= 1, C = {self.channels}], got {list(x.shape)}")
        if self.padding == "zeros":
            correction = self.conv_network(x.transpose(1, 2)).transpose(1, 2)
        else:
            # The rows beyond the ends are rows of the input; the convolutions' own zeros reach only outputs beyond.
            radius, count = self.receptive_radius, x.shape[1]
            places = rows_beyond_ends(np.arange(-radius, count + radius), count, self.padding)
            extended = x[:, torch.from_numpy(places).to(x.device)]
            hidden = self.conv_network(extended.transpose(1, 2)).transpose(1, 2)
            correction = hidden[:, radius : radius + count]
        return x + self.gate() * correction


class SimilarityPredictor(nn.Module):
    """Linear, ReLU, Linear over the channels; follows the module during fitting and is dropped afterwards.

    Source: Kang et al., CVPR 2023, section 3.3, after the predictor of SimSiam (Chen and He, CVPR 2021).
    """

    def __init__(self, channels: int, config: SolaConfig) -> None:
        super().__init__()
        self.network = nn.Sequential(
            nn.Linear(channels, config.predictor_hidden),
            nn.ReLU(),
            nn.Linear(config.predictor_hidden, channels),
        )

    def forward(self, z: Tensor) -> Tensor:
        """Return predictions [..., C] for unit vectors z [..., C]."""
        predictions: Tensor = self.network(z)
        return predictions


def bias_of(layer: nn.Conv1d) -> Tensor:
    """Return the bias [out] of one of the module's convolutions."""
    assert layer.bias is not None, "the module builds every convolution with a bias"
    return layer.bias


def initial_networks(channels: int, config: SolaConfig) -> tuple[SolaModule, nn.Module]:
    """Return the module and the predictor (identity if the configuration has none) with the seed's initial weights.

    The caller's random state is neither used nor changed.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        module = SolaModule(channels, config)
        predictor = SimilarityPredictor(channels, config) if config.predictor else nn.Identity()
    return module, predictor

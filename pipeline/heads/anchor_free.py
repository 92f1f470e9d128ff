"""The anchor-free localization head: every point of a temporal pyramid predicts classes and two boundaries.

Source: Zhang et al. 2022, "ActionFormer" (arXiv 2202.07925). Own choices: convolution blocks as an
alternative to local attention, softplus for the distances (a rectifier's zero gradient would leave points dead),
standardized input.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pipeline.heads.base import Head
from pipeline.heads.blocks import AttentionBlock, ChannelNorm, ConvBlock, DepthwiseBlock, MaskedConv, sinusoids
from pipeline.heads.candidates import Candidates
from pipeline.heads.config import HeadConfig
from pipeline.heads.losses import diou_loss_1d, sigmoid_focal_loss
from pipeline.heads.targets import SegmentTargets, assign_batch
from sola.device import chosen_rows, sent

# Every class starts at this probability, so that the many negatives do not swamp the first steps.
PRIOR_PROBABILITY = 0.01
POSITIVES_MOMENTUM = 0.9


@dataclass(frozen=True)
class LevelOutput:
    """The output of one level of the pyramid, with T_l positions and K classes.

    `stride` snippets between positions; `points` [T_l] in snippets; `mask` [B, T_l] bool, True where valid, both on
    the device of the mask that `forward` was given;
    `logits` [B, T_l, K]; `distances` [B, T_l, 2] >= 0 to start and end in units of `stride`.
    """

    stride: int
    points: Tensor
    mask: Tensor
    logits: Tensor
    distances: Tensor


class AnchorFreeHead(Head):
    """Every point of a temporal pyramid predicts class probabilities and its distances to start and end."""

    positives: Tensor

    def __init__(self, channels: int, num_classes: int, config: HeadConfig) -> None:
        super().__init__(channels, num_classes, config)
        width = config.embed_dim
        self.project = MaskedConv(channels, width, 1)
        self.project_norm = ChannelNorm(width)
        self.embed = MaskedConv(width, width, config.kernel)
        self.stem = nn.ModuleList(_block(config) for _ in range(config.stem_blocks))
        steps = config.levels - 1
        self.halve = nn.ModuleList(MaskedConv(width, width, 3, stride=2) for _ in range(steps))
        self.pyramid = nn.ModuleList(_block(config) for _ in range(steps))
        self.level_norm = ChannelNorm(width)
        self.classify = _Tower(config, num_classes)
        self.regress = _Tower(config, 2)
        self.scales = nn.Parameter(torch.ones(config.levels))
        self.register_buffer("positives", torch.zeros(()))
        nn.init.constant_(self.classify.last.conv.bias, -math.log(1 / PRIOR_PROBABILITY - 1))  # type: ignore[arg-type]
        # softplus(2) is about 2.1 strides: the middle of the range of all levels above the first.
        nn.init.constant_(self.regress.last.conv.bias, 2.0)  # type: ignore[arg-type]

    def forward(self, features: Tensor, mask: Tensor) -> list[LevelOutput]:
        """Return the outputs of all levels, finest first; arguments as in `Head.forward`."""
        x, valid = self._prepare(features, mask)
        return [
            self._answer(level, x_l, m_l, mask[:, :: 2**level])
            for level, (x_l, m_l) in enumerate(self._levels(x, valid))
        ]

    def _levels(self, x: Tensor, mask: Tensor) -> list[tuple[Tensor, Tensor]]:
        x = F.relu(self.project_norm(self.project(x, mask)))
        x = self.embed(x, mask)
        if self.config.position == "absolute":
            x = (x + sinusoids(x.shape[2], x.shape[1], device=x.device)) * mask
        for block in self.stem:
            x = block(x, mask)
        levels = [(x, mask)]
        for halve, block in zip(self.halve, self.pyramid, strict=True):
            x, mask = halve(x, mask), mask[:, :, ::2]
            x = block(x, mask)
            levels.append((x, mask))
        return levels

    def _answer(self, level: int, x: Tensor, mask: Tensor, inside: Tensor) -> LevelOutput:
        x = self.level_norm(x)
        stride = 2**level
        return LevelOutput(
            stride=stride,
            points=torch.arange(x.shape[2], device=inside.device, dtype=torch.float32) * stride,
            mask=inside,
            logits=self.classify(x, mask).transpose(1, 2),
            distances=F.softplus(self.regress(x, mask).transpose(1, 2) * self.scales[level]),
        )

    def loss(self, outputs: list[LevelOutput], targets: Sequence[SegmentTargets]) -> dict[str, Tensor]:
        """Return {"classification": focal loss, "regression": DIoU loss}; arguments as in `Head.loss`.

        Both are sums divided by a moving average of the number of positive points, which training updates.
        """
        config = self.config
        classes, distances = assign_batch(
            [level.points for level in outputs],
            targets,
            strides=[level.stride for level in outputs],
            ranges_snippets=config.ranges_snippets,
            center_sample_radius=config.center_sample_radius,
            num_classes=self.num_classes,
        )
        mask = torch.cat([level.mask for level in outputs], dim=1)
        classes, distances = classes[mask], distances[mask]
        positive = classes.any(dim=1)
        device = outputs[0].logits.device
        logits = chosen_rows(torch.cat([level.logits for level in outputs], dim=1), mask)
        predicted = chosen_rows(torch.cat([level.distances for level in outputs], dim=1), mask)
        normalizer = self._moving_positives(sent(positive.sum(), device))
        classes = sent(classes, device)
        focal = sigmoid_focal_loss(logits, classes, alpha=config.focal_alpha, gamma=config.focal_gamma)
        diou = diou_loss_1d(chosen_rows(predicted, positive), sent(distances[positive], device))
        return {
            "classification": focal.sum() / normalizer,
            "regression": config.regression_weight * diou.sum() / normalizer,
        }

    @torch.no_grad()
    def _moving_positives(self, count: Tensor) -> Tensor:
        count = count.to(self.positives).clamp(min=1)
        if self.training:
            # The first batch sets it: a fixed start would be wrong for small or for large batches.
            known = POSITIVES_MOMENTUM * self.positives + (1 - POSITIVES_MOMENTUM) * count
            self.positives.copy_(torch.where(self.positives > 0, known, count))
        return torch.where(self.positives > 0, self.positives, count)

    def candidates(self, outputs: list[LevelOutput], *, min_score: float) -> list[Candidates]:
        """Return every valid point with every class of at least `min_score`, for each sequence of the batch."""
        batch = len(outputs[0].mask)
        return [self._candidates_of(outputs, row, min_score) for row in range(batch)]

    def _candidates_of(self, outputs: list[LevelOutput], row: int, min_score: float) -> Candidates:
        found = []
        for level in outputs:
            scores = level.logits[row].sigmoid()
            point, label = ((scores >= min_score) & level.mask[row, :, None]).nonzero(as_tuple=True)
            reach = level.distances[row, point] * level.stride
            center = level.points[point]
            segments = torch.stack([center - reach[:, 0], center + reach[:, 1]], dim=1)
            found.append(Candidates(segments, label, scores[point, label]))
        return Candidates.join(found)


class _Tower(nn.Module):
    """Masked convolutions down to `outputs` channels, shared by all levels."""

    def __init__(self, config: HeadConfig, outputs: int) -> None:
        super().__init__()
        width, layers = config.embed_dim, config.tower_layers
        self.hidden = nn.ModuleList(MaskedConv(width, width, config.kernel) for _ in range(layers))
        self.norms = nn.ModuleList(ChannelNorm(width) for _ in range(layers))
        self.last = MaskedConv(width, outputs, config.kernel)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        for conv, norm in zip(self.hidden, self.norms, strict=True):
            x = F.relu(norm(conv(x, mask)))
        out: Tensor = self.last(x, mask)
        return out


def _block(config: HeadConfig) -> nn.Module:
    if config.block == "conv":
        return ConvBlock(config.embed_dim, config.kernel, config.dropout)
    if config.block == "depthwise":
        return DepthwiseBlock(config.embed_dim, config.kernel, config.dropout)
    return AttentionBlock(
        config.embed_dim, config.attention_window, config.attention_heads, config.kernel, config.dropout
    )

"""Training a head together with SoLa: with the module in front of it, or with the similarity loss on its first layer.

The ways that `TrainConfig.sola` names, and what they train:

    frozen              the head                                               by the head's loss
    unified             the head and a module in front of it                   by the head's loss
    unified_with_loss   the head, a module in front of it, and a predictor     by the head's and the similarity loss
    auxiliary           the head and a predictor behind its first layer        by the head's and the similarity loss

The module sees the features as the encoder gives them, and the head standardizes what comes out of it: as in two
stages, so a module trained here and a fitted one can take each other's place. The standardization is that of the plain
features, which are what the module puts out before its first step.

Source: Kang et al., CVPR 2023 (arXiv 2211.06023): the module, the similarity loss, and unified training.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pipeline.heads.actionness import ActionnessHead
from pipeline.heads.anchor_free import AnchorFreeHead
from pipeline.heads.base import Head
from pipeline.heads.config import TrainConfig
from pipeline.heads.gtad import GtadHead
from pipeline.heads.resize import rescale_snippets
from pipeline.heads.targets import SegmentTargets
from pipeline.training.batches import Batch, TrainItem, random_crop
from sola.config import SolaConfig
from sola.device import resolve_precision
from sola.fit_state import FitState, Scale, batch_loss, new_fit_state
from sola.module import SolaModule
from sola.sampling import WindowBatch, draw_epoch, lengths_of, read_windows
from sola.similarity import similarity_loss
from sola.statistics import feature_statistics


class HeadWithSola(nn.Module):
    """All weights that are trained together; what a way does not need is None.

    Args:
        head: takes the module's output, or the features where there is no module.
        module: sees the features; the identity before its first step.
        predictor: of the similarity loss; not needed afterwards.
    """

    def __init__(self, head: Head, module: SolaModule | None, predictor: nn.Module | None) -> None:
        super().__init__()
        self.head, self.module, self.predictor = head, module, predictor


def module_config(config: TrainConfig, *, steps: int) -> SolaConfig:
    """The settings of the trained module, with what it takes from the training of the head.

    Args:
        steps: optimizer steps of the whole training.
    """
    windows = config.batch_size * config.module.windows_per_video
    return replace(config.module, seed=config.seed, steps=steps, batch_size=windows)


def start_fit(items: Sequence[TrainItem], head: Head, config: TrainConfig, device: torch.device) -> FitState:
    """SoLa's networks with their initial weights, its targets and what it compares relative to, on ``device``.

    For sola=auxiliary they have the width of the head's first layer, and only the predictor is used.

    Args:
        items: training videos; at most ``config.statistics_videos`` of them are looked at, and only where
            ``config.module.normalize`` asks for it.
    """
    chosen = np.random.default_rng(config.seed).permutation(len(items))[: config.statistics_videos]
    source = _ItemSource([items[index] for index in np.sort(chosen)])
    settings = replace(config.module, seed=config.seed, device="cpu")
    if config.sola == "unified":
        settings = replace(settings, predictor=False)
    channels = head.config.embed_dim if config.sola == "auxiliary" else head.channels
    statistics = None
    if settings.normalize != "none":
        statistics = feature_statistics(source, lengths_of(source), channels, settings.normalize)
    return _on_device(new_fit_state(channels, settings, statistics=statistics), device)


def _on_device(fit_state: FitState, device: torch.device) -> FitState:
    fit_state.module.to(device)
    fit_state.predictor.to(device)
    statistics = fit_state.statistics
    return replace(
        fit_state,
        scales=tuple(replace(s, plan=s.plan.to(device), target=s.target.to(device)) for s in fit_state.scales),
        statistics=None if statistics is None else statistics.to(device, statistics.origin.dtype),
        compute_dtype=resolve_precision(fit_state.scales[0].config.precision, device),
    )


def joined(head: Head, fit_state: FitState, config: TrainConfig) -> HeadWithSola:
    """The head with those of the learner's networks that ``config.sola`` trains."""
    module = fit_state.module if config.trains_module else None
    predictor = fit_state.predictor if config.sola != "unified" else None
    return HeadWithSola(head, module, predictor)


def joint_losses(
    network: HeadWithSola,
    fit_state: FitState,
    batch: Batch,
    *,
    config: TrainConfig,
    step: int,
    rng: np.random.Generator,
    device: torch.device,
) -> dict[str, Tensor]:
    """The head's losses, and the weighted "similarity" where ``config.sola`` has it.

    Args:
        batch: on the CPU; where a module is trained, of the sequences before any resizing.
        step: optimizer steps taken before; with the seed it decides the windows drawn.
        rng: of the crops.
    """
    scale = fit_state.scales[step % len(fit_state.scales)]
    similarity: Tensor | None = None
    if config.sola == "unified_with_loss":
        similarity, _ = batch_loss(fit_state, windows_of(batch, scale, step=step), scale)
    batch = batch.to(device)
    if network.module is not None:
        batch = replace(batch, features=enhance_batch(network.module, batch.features, batch.mask))
        if config.head.resize_snippets:
            batch = resize_batch(batch, config.head.resize_snippets, limit=config.head.train_limit, rng=rng)
    outputs, projected = forward_and_first_layer(network.head, batch)
    if config.sola == "auxiliary":
        similarity = projection_loss(fit_state, projected, batch.mask, scale, step=step)
    losses = network.head.loss(outputs, batch.targets)
    return losses if similarity is None else {**losses, "similarity": config.similarity_weight * similarity}


def first_layer(head: Head) -> nn.Module:
    """The head's first layer with weights: from the features' channels to its own width."""
    if isinstance(head, ActionnessHead):
        # With tower_layers=0 the classifier is all there is.
        return head.hidden[0] if len(head.hidden) else head.classify
    assert isinstance(head, AnchorFreeHead | GtadHead), "these are all the heads"
    return head.project


def forward_and_first_layer(head: Head, batch: Batch) -> tuple[Any, Tensor]:
    """What the head puts out, and what its first layer does on the way, [B, T, width]."""
    seen: list[Tensor] = []
    listening = first_layer(head).register_forward_hook(lambda _layer, _inputs, output: seen.append(output))
    try:
        outputs = head(batch.features, batch.mask)
    finally:
        listening.remove()
    return outputs, seen[0].transpose(1, 2)


def enhance_batch(module: SolaModule, features: Tensor, mask: Tensor) -> Tensor:
    """The module's output [B, T, C] on padded sequences, each as if it stood alone; 0 under padding.

    Args:
        features: [B, T, C] float32.
        mask: [B, T] bool, True where a row is a snippet.
    """
    padding = ~mask[:, None]
    x = features.masked_fill(~mask[..., None], 0.0)
    hidden = x.transpose(1, 2)
    for layer in module.conv_network:
        # Each layer must find zeros beyond the end, as at inference; after a bias there are none.
        hidden = layer(hidden).masked_fill(padding, 0.0)
    return x + module.gate() * hidden.transpose(1, 2)


def resize_batch(batch: Batch, length: int, *, limit: int, rng: np.random.Generator) -> Batch:
    """The sequences resized to ``length`` rows as by `resize_rows`, with gradients, and cropped to ``limit``."""
    rows, targets = [], []
    for features, mask, target in zip(batch.features, batch.mask, batch.targets, strict=True):
        source = int(mask.sum())
        resized = F.interpolate(features[:source].T[None], size=length, mode="linear", align_corners=False)[0].T
        segments = rescale_snippets(target.segments, source=source, target=length)
        places = np.arange(length)[:, None]
        places, target = random_crop(places, SegmentTargets(segments, target.labels), limit=limit, rng=rng)
        rows.append(resized[places[0, 0] : places[-1, 0] + 1])
        targets.append(target)
    features = torch.stack(rows)
    return Batch(features, torch.ones(features.shape[:2], dtype=torch.bool, device=features.device), targets)


def windows_of(batch: Batch, scale: Scale, *, step: int) -> WindowBatch:
    """Windows drawn at random from the batch's sequences, as the fitting of SoLa draws them from videos.

    Args:
        batch: on the CPU.
        step: decides, with ``scale.config.seed``, which windows.
    """
    source = _BatchSource(batch)
    return read_windows(
        source,
        draw_epoch(lengths_of(source), scale.config, step),
        scale.plan.positions[0].tolist(),
        channels=batch.features.shape[2],
        window_snippets=scale.config.window_snippets,
    )


def projection_loss(fit_state: FitState, rows: Tensor, mask: Tensor, scale: Scale, *, step: int) -> Tensor:
    """The similarity loss, a scalar, of windows drawn from what the head's first layer puts out.

    Args:
        learner: its predictor is used.
        rows: [B, T, C] float, C the width of that layer.
        mask: [B, T] bool.
        step: decides, with ``scale.config.seed``, which windows.
    """
    lengths = mask.sum(dim=1).cpu()
    windows = draw_epoch(lengths.numpy(), scale.config, step)
    video = torch.from_numpy(windows.videos)[:, None]
    place = torch.from_numpy(windows.firsts)[:, None] + torch.tensor(scale.config.positions)
    inside = (place >= 0) & (place < lengths[video])
    place = place.clamp(0, rows.shape[1] - 1)
    z = F.normalize(rows[video.to(rows.device), place.to(rows.device)], dim=-1)
    return similarity_loss(z, fit_state.predictor(z), scale.target, inside.to(rows.device))


class _BatchSource:
    """The sequences of a batch on the CPU, as SoLa's sampling wants them."""

    def __init__(self, batch: Batch) -> None:
        self._features = batch.features.numpy()
        self._lengths = batch.mask.sum(dim=1).tolist()

    def __len__(self) -> int:
        return len(self._lengths)

    def length(self, index: int) -> int:
        return int(self._lengths[index])

    def rows(self, index: int, start: int, stop: int) -> np.ndarray:
        return self._features[index, start:stop]


class _ItemSource:
    """The sequences of training videos, read one by one; the last is kept, for rows are asked for in order."""

    def __init__(self, items: Sequence[TrainItem]) -> None:
        self._items = items
        self._load = lru_cache(maxsize=1)(lambda index: items[index].load())

    def __len__(self) -> int:
        return len(self._items)

    def length(self, index: int) -> int:
        return len(self._load(index))

    def rows(self, index: int, start: int, stop: int) -> np.ndarray:
        return self._load(index)[start:stop]

"""Train a head together with SoLa: with the module in front of it, or with the similarity loss on its first layer.

The values of `TrainConfig.sola`, and what they train:

    frozen              the head                                               by the head's loss
    unified             the head and a module in front of it                   by the head's loss
    unified_with_loss   the head, a module in front of it, and a predictor     by the head's and the similarity loss
    auxiliary           the head and a predictor behind its first layer        by the head's and the similarity loss

The module takes the encoder's features, and the head standardizes the module's output. This is the same as in two
stages, so modules trained here and fitted modules are interchangeable. The head standardizes by the statistics of the
plain features, which are the module's output before its first step.

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
from sola.device import resolve_precision, sent
from sola.fit_state import FitState, new_fit_state
from sola.fit_step import batch_loss
from sola.module import SolaModule
from sola.padding import rows_beyond_ends
from sola.sampling import WindowBatch, draw_epoch, lengths_of, read_windows
from sola.similarity import similarity_loss
from sola.statistics import feature_statistics


class HeadWithSola(nn.Module):
    """All weights that are trained together; networks that `TrainConfig.sola` does not need are None.

    Args:
        head: takes the module's output, or the features if there is no module.
        module: takes the features; the identity before its first step.
        predictor: of the similarity loss; not needed after training.
    """

    def __init__(self, head: Head, module: SolaModule | None, predictor: nn.Module | None) -> None:
        super().__init__()
        self.head, self.module, self.predictor = head, module, predictor


def module_config(config: TrainConfig, *, steps: int) -> SolaConfig:
    """Return the settings of the trained module, with the seed, steps and batch size of the training.

    Args:
        steps: optimizer steps of the whole training.
    """
    windows = config.batch_size * config.module.windows_per_video
    return replace(config.module, seed=config.seed, steps=steps, batch_size=windows, adapt=False)


def start_fit(items: Sequence[TrainItem], head: Head, config: TrainConfig, device: torch.device) -> FitState:
    """Return SoLa's networks with initial weights, its targets and its feature statistics, on `device`.

    For sola=auxiliary the networks have the width of the head's first layer, and only the predictor is used.

    Args:
        items: training videos; at most `config.statistics_videos` of them are read, and only if
            `config.module.normalize` needs statistics.
    """
    chosen = np.random.default_rng(config.seed).permutation(len(items))[: config.statistics_videos]
    source = _ItemSource([items[index] for index in np.sort(chosen)])
    settings = replace(config.module, seed=config.seed, device="cpu")
    if config.sola == "unified":
        settings = replace(settings, predictor=False)
    channels = head.config.embed_dim if config.sola == "auxiliary" else head.channels
    statistics = None
    if settings.normalize != "none":
        statistics = feature_statistics(source, lengths_of(source), settings.normalize)
    return _on_device(new_fit_state(channels, settings, statistics=statistics), device)


def _on_device(fit_state: FitState, device: torch.device) -> FitState:
    fit_state.module.to(device)
    fit_state.predictor.to(device)
    statistics = fit_state.statistics
    return replace(
        fit_state,
        plan=fit_state.plan.to(device),
        target=fit_state.target.to(device),
        statistics=None if statistics is None else statistics.to(device, statistics.origin.dtype),
        compute_dtype=resolve_precision(fit_state.config.precision, device),
    )


def joined(head: Head, fit_state: FitState, config: TrainConfig) -> HeadWithSola:
    """Return the head with those of SoLa's networks that `config.sola` trains."""
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
) -> dict[str, Tensor]:
    """Return the head's losses, and the weighted "similarity" if `config.sola` has it.

    Args:
        batch: on the CPU; if a module is trained, the sequences before any resizing.
        step: optimizer steps taken before; determines the windows drawn, with the seed.
        rng: for the crops.
    """
    similarity: Tensor | None = None
    if config.sola == "unified_with_loss":
        similarity, _ = batch_loss(fit_state, windows_of(batch, fit_state, step=step))
    batch = batch.to(next(network.parameters()).device)
    if network.module is not None:
        batch = replace(batch, features=enhance_batch(network.module, batch.features, batch.mask))
        if config.head.resize_snippets:
            batch = resize_batch(batch, config.head.resize_snippets, limit=config.head.train_limit, rng=rng)
    outputs, projected = forward_and_first_layer(network.head, batch)
    if config.sola == "auxiliary":
        similarity = projection_loss(fit_state, projected, batch.mask, step=step)
    losses = network.head.loss(outputs, batch.targets)
    return losses if similarity is None else {**losses, "similarity": config.similarity_weight * similarity}


def first_layer(head: Head) -> nn.Module:
    """Return the head's first layer with weights: from the features' channels to the head's width."""
    if isinstance(head, ActionnessHead):
        # With tower_layers=0 the classifier is the only layer.
        return head.hidden[0] if len(head.hidden) else head.classify
    assert isinstance(head, AnchorFreeHead | GtadHead), "these are all the heads"
    return head.project


def forward_and_first_layer(head: Head, batch: Batch) -> tuple[Any, Tensor]:
    """Return the outputs of the head and of its first layer, the latter [B, T, width]."""
    seen: list[Tensor] = []
    listening = first_layer(head).register_forward_hook(lambda _layer, _inputs, output: seen.append(output))
    try:
        outputs = head(batch.features, batch.mask)
    finally:
        listening.remove()
    return outputs, seen[0].transpose(1, 2)


def enhance_batch(module: SolaModule, features: Tensor, mask: Tensor) -> Tensor:
    """Return the module's output [B, T, C] for padded sequences, independent of the padding; 0 under padding.

    Args:
        features: [B, T, C] float32.
        mask: [B, T] bool, True where a row is a snippet.
    """
    padding = sent(~mask[:, None], features.device)
    x = features.masked_fill(padding.transpose(1, 2), 0.0)
    if module.padding == "zeros":
        hidden = x.transpose(1, 2)
        for layer in module.conv_network:
            # Each layer must see zeros beyond the end, as at inference; a bias makes them nonzero.
            hidden = layer(hidden).masked_fill(padding, 0.0)
        return x + module.gate() * hidden.transpose(1, 2)
    radius, count = module.receptive_radius, features.shape[1]
    places = np.arange(-radius, count + radius)
    shown = np.stack([rows_beyond_ends(places, int(length), module.padding) for length in mask.sum(dim=1).tolist()])
    rows = sent(torch.from_numpy(shown), x.device)[..., None].expand(-1, -1, x.shape[2])
    hidden = module.conv_network(x.gather(1, rows).transpose(1, 2))[:, :, radius : radius + count]
    return x + module.gate() * hidden.masked_fill(padding, 0.0).transpose(1, 2)


def resize_batch(batch: Batch, length: int, *, limit: int, rng: np.random.Generator) -> Batch:
    """Return the sequences resized to `length` rows like `resize_rows`, with gradients, and cropped to `limit`."""
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
    return Batch(features, torch.ones(features.shape[:2], dtype=torch.bool), targets)


def windows_of(batch: Batch, fit_state: FitState, *, step: int) -> WindowBatch:
    """Return windows drawn at random from the batch's sequences, as fitting SoLa draws them from videos.

    Args:
        batch: on the CPU.
        step: determines the windows, with `fit_state.config.seed`.
    """
    source = _BatchSource(batch)
    return read_windows(
        source,
        draw_epoch(lengths_of(source), fit_state.config, step),
        fit_state.plan.positions[0].tolist(),
        channels=batch.features.shape[2],
        window_snippets=fit_state.config.window_snippets,
        padding=fit_state.config.padding,
    )


def projection_loss(fit_state: FitState, rows: Tensor, mask: Tensor, *, step: int) -> Tensor:
    """Return the similarity loss, a scalar, of windows drawn from the output of the head's first layer.

    Args:
        fit_state: holds the predictor.
        rows: [B, T, C] float, C the width of that layer.
        mask: [B, T] bool.
        step: determines the windows, with `fit_state.config.seed`.
    """
    lengths = mask.sum(dim=1).cpu()
    windows = draw_epoch(lengths.numpy(), fit_state.config, step)
    video = torch.from_numpy(windows.videos)[:, None]
    place = torch.from_numpy(windows.firsts)[:, None] + torch.tensor(fit_state.config.positions)
    inside = (place >= 0) & (place < lengths[video])
    place = place.clamp(0, rows.shape[1] - 1)
    z = F.normalize(rows[sent(video, rows.device), sent(place, rows.device)], dim=-1)
    return similarity_loss(z, fit_state.predictor(z), fit_state.target, inside)


class _BatchSource:
    """The sequences of a batch on the CPU, as a source for SoLa's sampling."""

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
    """The sequences of training videos, read one by one. Caches the last one: sampling reads videos in order."""

    def __init__(self, items: Sequence[TrainItem]) -> None:
        self._items = items
        self._load = lru_cache(maxsize=1)(lambda index: items[index].load())

    def __len__(self) -> int:
        return len(self._items)

    def length(self, index: int) -> int:
        return len(self._load(index))

    def rows(self, index: int, start: int, stop: int) -> np.ndarray:
        return self._load(index)[start:stop]

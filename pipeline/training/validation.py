"""Evaluate a head on annotated videos during training."""

from collections.abc import Sequence
from typing import cast

import torch

from pipeline.detection.inference import detect
from pipeline.heads.base import Head
from pipeline.heads.config import TrainConfig
from pipeline.metrics.map import MapResult, evaluate_map
from pipeline.training.batches import TrainItem
from sola.config import Device
from sola.device import resolve_device
from sola.enhance import enhance
from sola.module import SolaModule


def validate(
    head: Head,
    items: Sequence[TrainItem],
    *,
    labels: Sequence[str],
    config: TrainConfig,
    module: SolaModule | None = None,
) -> MapResult:
    """Return the mean average precision of the head, whose classes are `labels`, on the items.

    With `config.class_agnostic` the items' segments are relabeled `PROPOSAL_LABEL`. A `module` enhances the items'
    features first, as in `localize`.
    """
    device = training_device(config.device)
    if config.class_agnostic:
        items = [item.as_proposals() for item in items]
    found = {
        item.video_id: detect(
            head,
            [item.load()] if module is None else enhance(module, [item.load()]),
            stride_seconds=item.stride_seconds,
            window_seconds=item.window_seconds,
            duration_seconds=item.duration_seconds,
            labels=labels,
            post=config.post,
            device=device,
        )
        for item in items
    }
    truth = {item.video_id: item.segments for item in items}
    return evaluate_map(truth, found, tious=config.validation_tious)


def training_device(name: str) -> torch.device:
    """Return the device called `name`: auto, cpu, cuda, or cuda:N for one GPU of several.

    Raises:
        SolaError: cuda is asked for and absent.
    """
    kind, _, index = name.partition(":")
    device = resolve_device(cast(Device, kind))
    return torch.device(name) if index else device

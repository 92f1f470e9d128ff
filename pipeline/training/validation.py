"""Evaluate a head on annotated videos during training."""

from collections.abc import Sequence
from typing import cast

import torch

from pipeline.annotations.segments import Detection, Segment
from pipeline.detection.inference import detect
from pipeline.heads.base import Head
from pipeline.heads.config import TrainConfig
from pipeline.metrics.best_score import BestScore, best_score
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
    if config.class_agnostic:
        items = [item.as_proposals() for item in items]
    found = _found(head, items, labels=labels, config=config, module=module)
    return evaluate_map(_truth(items), found, tious=config.validation_tious)


def calibrate(
    head: Head,
    items: Sequence[TrainItem],
    *,
    labels: Sequence[str],
    config: TrainConfig,
    module: SolaModule | None = None,
) -> BestScore | None:
    """Return the score of best F1 on the items, which are as in `validate`; None if no detection is right."""
    if config.class_agnostic:
        items = [item.as_proposals() for item in items]
    return best_score(_truth(items), _found(head, items, labels=labels, config=config, module=module))


def _truth(items: Sequence[TrainItem]) -> dict[str, Sequence[Segment]]:
    return {item.video_id: item.segments for item in items}


def _found(
    head: Head,
    items: Sequence[TrainItem],
    *,
    labels: Sequence[str],
    config: TrainConfig,
    module: SolaModule | None,
) -> dict[str, list[Detection]]:
    """Return the detections of each item by video id, as `localize` finds them."""
    device = training_device(config.device)
    return {
        item.video_id: detect(
            head,
            [item.load()] if module is None else enhance(module, [item.load()]),
            item.times,
            labels=labels,
            post=config.post,
            device=device,
        )
        for item in items
    }


def training_device(name: str) -> torch.device:
    """Return the device called `name`: auto, cpu, cuda, or cuda:N for one GPU of several.

    Raises:
        SolaError: cuda is asked for and absent.
    """
    kind, _, index = name.partition(":")
    device = resolve_device(cast(Device, kind))
    return torch.device(name) if index else device

"""How well a head does on videos with annotations, while it is trained."""

from collections.abc import Sequence

import torch

from pipeline.detection.inference import detect
from pipeline.errors import PipelineError
from pipeline.heads.base import Head
from pipeline.heads.config import TrainConfig
from pipeline.metrics.map import MapResult, evaluate_map
from pipeline.training.batches import TrainItem
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
    """Mean average precision of the head, whose classes are `labels`, on the items.

    With `config.class_agnostic` the items' segments count as `PROPOSAL_LABEL`. With a `module` the items' features
    go through it first, as in `localize`.
    """
    device = resolve_device(config.device)
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


def resolve_device(name: str) -> torch.device:
    """The torch device of that name; auto is cuda where there is one.

    Raises:
        PipelineError: cuda is asked for and absent.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise PipelineError(f"device must be available, got {name!r} but no CUDA device is here; use device=cpu")
    return torch.device(name)

"""The cost of each network of an experiment: parameters, operations of a snippet, operations of its training."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from encoders.catalog import catalog_entry
from encoders.spec import EncoderSpec
from encoders.trained import carried_spec
from pipeline.ablation.config import AblateConfig
from pipeline.ablation.plan import Cell, read_plan
from pipeline.annotations import read_annotations
from pipeline.heads.config import TrainConfig
from pipeline.heads.registry import build_head
from pipeline.stages.enhance import StoreSource
from pipeline.storage.read_files import read_json
from pipeline.store.feature_store import FeatureStore
from pipeline.training.schedule import steps_per_epoch
from sola.config import SolaConfig
from sola.fit import fit
from sola.module import initial_networks
from sola.sampling import steps_in_epoch

# A training step is a forward and a backward pass. The backward pass computes two gradients (of weights and of inputs)
# for each product of the forward pass.
STEP = 3


@dataclass(frozen=True)
class Cost:
    """A network's cost: trained `parameters`, `per_snippet` operations of a forward pass (a multiply-add is two), and
    `training` operations of its whole training."""

    name: str
    parameters: int
    per_snippet: float
    training: float


@dataclass(frozen=True)
class Comparison:
    """Operations to adapt to a data set: with SoLa on a frozen encoder, and by training the encoder with the head."""

    with_sola: float
    end_to_end: float


def costs_of(out: Path, annotations: Path, heads_file: Path) -> tuple[list[Cost], Comparison]:
    """Return the cost of the encoder, of SoLa and of each head in `heads_file`, and what SoLa saves.

    Args:
        out: the folder of a finished experiment.
        annotations: of its videos.
        heads_file: the ablation of heads.
    """
    store = FeatureStore.open(out / "run" / "features")
    truth = read_annotations(annotations)
    rows = {video: store.read(video).features.shape[0] for video in store.ids()}
    learned = [rows[video] for video in truth.in_subset("training").videos if video in rows]
    mean_rows = sum(learned) / len(learned)
    cells = read_plan(heads_file, AblateConfig(store=(store.path,), annotations=annotations))
    channels = store.spec.channels
    weights = out / "encoder.safetensors"
    spec = carried_spec(weights)
    assert spec is not None, "pretrain writes the spec"
    encoder = _encoder(spec, read_json(weights.with_suffix(".json"), what="record of pretrain"))
    sola = _sola(next(cell.config.sola for cell in cells if cell.config.use_sola), store, round(mean_rows))
    # One head for each kind, from its first cell.
    kinds: dict[str, Cell] = {}
    for cell in cells:
        kinds.setdefault(cell.config.train.head.kind, cell)
    heads = [
        _head(cell.config.train, channels, len(truth.labels), round(mean_rows), len(learned)) for cell in kinds.values()
    ]
    seen = max(_snippets_seen(cell.config.train, mean_rows, len(learned)) for cell in kinds.values())
    everything = sum(rows.values())
    comparison = Comparison(
        with_sola=everything * (encoder.per_snippet + sola.per_snippet) + sola.training,
        end_to_end=STEP * encoder.per_snippet * seen,
    )
    return [encoder, sola, *heads], comparison


def operations(work: Callable[[], object]) -> float:
    """Return the operations of `work` in matrix products and convolutions, forward and backward."""
    counter = FlopCounterMode(display=False)
    with counter:
        work()
    return float(counter.get_total_flops())


def _parameters(*networks: nn.Module) -> int:
    return sum(parameter.numel() for network in networks for parameter in network.parameters())


def _encoder(spec: EncoderSpec, record: dict) -> Cost:
    network = catalog_entry(spec.name).build().eval()
    frames, side = spec.num_frames, spec.crop_size
    shape = (frames, 3, side, side) if spec.layout == "frames" else (1, 3, frames, side, side)
    with torch.no_grad():
        once = operations(lambda: network(torch.zeros(shape)))
    windows = record["clips"][0] * record["settings"]["epochs"]
    return Cost(f"encoder ({spec.name}, {side} px)", _parameters(network), once, STEP * once * windows)


def _sola(config: SolaConfig, store: FeatureStore, rows: int) -> Cost:
    channels = store.spec.channels
    module, predictor = initial_networks(channels, config)
    with torch.no_grad():
        once = operations(lambda: module(torch.zeros(1, rows, channels))) / rows
    one = replace(config, steps=1, device="cpu")
    step = operations(lambda: fit(StoreSource(store), one, channels=channels))
    steps = config.steps or config.epochs * steps_in_epoch(len(store.ids()), config)
    return Cost("SoLa (module; predictor while it is fitted)", _parameters(module, predictor), once, step * steps)


def _head(config: TrainConfig, channels: int, classes: int, rows: int, videos: int) -> Cost:
    head = build_head(channels, classes, config.head).eval()
    features, mask = torch.zeros(1, rows, channels), torch.ones(1, rows, dtype=torch.bool)

    def forward() -> Tensor:
        with torch.no_grad():
            return head(features, mask)

    once = operations(forward) / rows
    return Cost(f"head {config.head.kind}", _parameters(head), once, STEP * once * _snippets_seen(config, rows, videos))


def _snippets_seen(config: TrainConfig, rows: float, videos: int) -> float:
    """Return the snippets in all training steps of a head, with sequences cut to its maximum length."""
    steps = config.epochs * steps_per_epoch(videos, config)
    return steps * min(config.batch_size, videos) * min(rows, config.head.train_limit)

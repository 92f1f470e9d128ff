"""Train a localization head on plain items: validate it, keep the best weights, resume exactly."""

import copy
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pipeline.annotations.segments import PROPOSAL_LABEL
from pipeline.errors import PipelineError
from pipeline.heads.base import Head
from pipeline.heads.config import TrainConfig
from pipeline.heads.registry import build_head
from pipeline.metrics.map import MapResult
from pipeline.text.plain import counted
from pipeline.training.batches import TrainItem, feature_statistics, make_batch, one_deviation
from pipeline.training.joint_sola import HeadWithSola, joined, joint_losses, module_config, start_fit
from pipeline.training.schedule import epoch_batches, learning_rate_at, steps_per_epoch
from pipeline.training.validation import training_device, validate
from pipeline.training.weights import copy_to_cpu, move_average, parameter_groups
from sola.config import SolaConfig
from sola.fit_state import FitState
from sola.module import SolaModule

_TOTAL = "total"  # beside the losses of a step


@dataclass(frozen=True)
class EpochReport:
    """The result of an epoch (counted from 1); `losses` are means over its steps.

    `validation` is None in epochs without one; `is_best` is true if the kept weights are now those of this epoch.
    `state` returns the checkpoint: tensors and plain values in dicts and lists, loadable with weights_only=True.
    """

    epoch: int
    epochs: int
    losses: dict[str, float]
    learning_rate: float
    validation: MapResult | None
    is_best: bool
    state: Callable[[], dict[str, Any]]


@dataclass(frozen=True)
class FitResult:
    """The trained `head` with its best weights, in evaluation mode, on the CPU, and the `labels` of its outputs.

    The weights are those of `best_epoch`; `best_map` is their mean average precision over `validation_tious`, None
    without validation videos; `losses` has one entry an epoch, `validation_maps` one a validation: (epoch, average).
    `module` is the SoLa module trained in front of the
    head, with the settings `module_config`; both are None if none was trained.
    """

    head: Head
    labels: tuple[str, ...]
    best_epoch: int
    best_map: float | None
    losses: list[dict[str, float]]
    module: SolaModule | None = None
    module_config: SolaConfig | None = None
    validation_maps: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True)
class TrainingData:
    """What a head learns from.

    Args:
        train: videos with segments; videos without any are background.
        validation: may be empty; the last epoch's weights are then kept.
        labels: the classes, in the order of the head's outputs.
        streams: channels of each stream; empty for one stream.
    """

    train: Sequence[TrainItem]
    validation: Sequence[TrainItem]
    labels: Sequence[str]
    streams: Sequence[int] = ()

    def as_proposals(self) -> "TrainingData":
        """Return the data with one class, for training; validation proposes for all."""
        return replace(self, train=[item.as_proposals() for item in self.train], labels=(PROPOSAL_LABEL,))


def fit_head(
    data: TrainingData,
    config: TrainConfig,
    *,
    on_epoch: Callable[[EpochReport], None] | None = None,
    resume: Mapping[str, Any] | None = None,
) -> FitResult:
    """Train a head on `data.train` and return the weights that do best on `data.validation`.

    The same data and config give the same result on the same device and library versions, even if training
    stops after an epoch and resumes from that epoch's state. The caller's random generators do not change.

    Args:
        data: its labels are ignored with `config.class_agnostic`, which has one class: see the result's labels.
        on_epoch: called after each epoch, to show progress and save `report.state()`.
        resume: a saved state; training continues after its epoch.

    Raises:
        PipelineError: no segments to learn from, unknown labels, or a diverging loss.
        SolaError: the device is cuda, and there is none.
    """
    if not any(len(item.segments) for item in data.train):
        raise PipelineError(f"data.train must have segments, got none in {counted(len(data.train), 'video')}")
    if config.class_agnostic:
        data = data.as_proposals()
    device = training_device(config.device)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(config.seed)
        task = _Task(data, config, device)
        run = _start(task)
        if resume is not None:
            run.load(resume)
            if run.epoch > config.epochs:
                raise PipelineError(f"epochs must be >= {run.epoch}, which the resumed state has, got {config.epochs}")
        for epoch in range(run.epoch + 1, config.epochs + 1):
            report = _run_epoch(run, task, epoch)
            if on_epoch is not None:
                on_epoch(report)
    run.head.load_state_dict(run.best["head"])
    head, module = _parts(run.head.cpu().eval())
    settings = module_config(config, steps=task.total_steps) if module is not None else None
    maps = tuple((int(epoch), float(average)) for epoch, average in run.validation_maps)
    return FitResult(head, tuple(data.labels), run.best["epoch"], run.best["map"], run.losses, module, settings, maps)


@dataclass(frozen=True)
class _Task:
    """Everything that stays the same during training."""

    data: TrainingData
    config: TrainConfig
    device: torch.device

    @property
    def total_steps(self) -> int:
        return self.config.epochs * steps_per_epoch(len(self.data.train), self.config)


class _Run:
    """Everything that changes during training; `state` returns all of it.

    `head` is a `Head`, or a `HeadWithSola` if SoLa is trained with it; `fit_state` is then not None.
    """

    def __init__(self, head: nn.Module, optimizer: torch.optim.Optimizer, fit_state: FitState | None) -> None:
        self.head, self.optimizer, self.fit_state = head, optimizer, fit_state
        self.average = copy.deepcopy(head).requires_grad_(False)
        self.step, self.epoch = 0, 0
        self.best: dict[str, Any] = {"epoch": 0, "map": None, "head": {}}
        self.losses: list[dict[str, float]] = []
        self.validation_maps: list[list[float]] = []

    def state(self) -> dict[str, Any]:
        return {
            "epoch": self.epoch,
            "step": self.step,
            "head": copy_to_cpu(self.head),
            "average": copy_to_cpu(self.average),
            "optimizer": copy.deepcopy(self.optimizer.state_dict()),
            "best": dict(self.best),
            "losses": list(self.losses),
            "validation_maps": list(self.validation_maps),
        }

    def load(self, state: Mapping[str, Any]) -> None:
        self.epoch, self.step = state["epoch"], state["step"]
        self.head.load_state_dict(state["head"])
        self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(copy.deepcopy(state["optimizer"]))
        self.best, self.losses = dict(state["best"]), list(state["losses"])
        self.validation_maps = list(state.get("validation_maps", []))  # older checkpoints lack them


def _start(task: _Task) -> _Run:
    items, config = task.data.train, task.config
    head = new_head(items, len(task.data.labels), config, streams=task.data.streams).to(task.device)
    groups = parameter_groups(head, weight_decay=config.weight_decay, share=1.0)
    if config.sola == "frozen":
        return _Run(head, _optimizer(groups, config, task.device), None)
    fit_state = start_fit(items, head, config, task.device)
    network = joined(head, fit_state, config)
    trained = {id(p) for p in network.parameters()}
    for group in fit_state.optimizer.param_groups:
        params = [p for p in group["params"] if id(p) in trained]
        share = group["lr"] / config.learning_rate
        groups.append({"params": params, "weight_decay": group["weight_decay"], "share": share})
    return _Run(network, _optimizer([group for group in groups if group["params"]], config, task.device), fit_state)


def _optimizer(groups: list[dict[str, Any]], config: TrainConfig, device: torch.device) -> torch.optim.Optimizer:
    # On a CPU the fused one is no faster, and its last bits differ.
    return torch.optim.AdamW(groups, lr=config.learning_rate, fused=device.type == "cuda" or None)


def new_head(items: Sequence[TrainItem], classes: int, config: TrainConfig, *, streams: Sequence[int] = ()) -> Head:
    """Return a head with random weights that standardizes by the statistics of the items' features."""
    mean, std = feature_statistics(items, most_items=config.statistics_videos, seed=config.seed)
    if config.standardize == "stream":
        std = one_deviation(std, streams)
    head = build_head(len(mean), classes, config.head)
    head.set_input_statistics(mean, std)
    return head


def _run_epoch(run: _Run, task: _Task, epoch: int) -> EpochReport:
    config, data = task.config, task.data
    # Each epoch has its own seed, so that resuming needs no saved generator state.
    rng = np.random.default_rng([config.seed, epoch])
    torch.manual_seed(int(rng.integers(2**62)))
    run.head.train()
    steps: list[dict[str, Tensor]] = []
    first = run.step
    for chosen in epoch_batches(len(data.train), config=config, rng=rng):
        rate = learning_rate_at(run.step, total_steps=task.total_steps, config=config)
        losses = _losses(run, task, [data.train[index] for index in chosen], rng)
        total = _optimize(run, losses, rate, config)
        steps.append({name: value.detach() for name, value in losses.items()} | {_TOTAL: total})
    curves = _fetched(steps)
    _require_finite(curves.pop(_TOTAL), first, config)
    mean_losses = {name: float(np.mean(values)) for name, values in curves.items()}
    run.losses.append(mean_losses)
    run.epoch = epoch

    validation = None
    is_best = not data.validation
    if data.validation and (epoch % config.validate_every_epochs == 0 or epoch == config.epochs):
        head, module = _parts(run.average)
        validation = validate(head, data.validation, labels=data.labels, config=config, module=module)
        run.validation_maps.append([epoch, validation.average])
        is_best = run.best["map"] is None or validation.average > run.best["map"]
    if is_best:
        score = None if validation is None else validation.average
        run.best = {"epoch": epoch, "map": score, "head": copy_to_cpu(run.average)}
    return EpochReport(epoch, config.epochs, mean_losses, rate, validation, is_best, run.state)


def _losses(run: _Run, task: _Task, items: Sequence[TrainItem], rng: np.random.Generator) -> dict[str, Tensor]:
    config = task.config
    limit, resized = config.head.train_limit, config.head.resize_snippets
    if resized and config.trains_module:
        # The module runs before the resizing, so it needs whole sequences.
        limit, resized = sys.maxsize, 0
    batch = make_batch(items, labels=task.data.labels, max_snippets=limit, resize_snippets=resized, rng=rng)
    if isinstance(run.head, HeadWithSola):
        assert run.fit_state is not None, "created together with the network"
        return joint_losses(run.head, run.fit_state, batch, config=config, step=run.step, rng=rng)
    head, _ = _parts(run.head)
    batch = batch.to(task.device)
    return head.loss(head(batch.features, batch.mask), batch.targets)


def _fetched(steps: Sequence[Mapping[str, Tensor]]) -> dict[str, list[float]]:
    """Return the values of each loss over the steps, copied at once: each copy waits for the GPU."""
    names = list(steps[0])
    rows = torch.stack([step[name] for step in steps for name in names]).reshape(-1, len(names)).tolist()
    return {name: [row[place] for row in rows] for place, name in enumerate(names)}


def _require_finite(totals: Sequence[float], first: int, config: TrainConfig) -> None:
    for step, total in enumerate(totals, first):
        if not np.isfinite(total):
            raise PipelineError(f"the loss became {total} at step {step}; lower learning_rate={config.learning_rate}")


def _optimize(run: _Run, losses: Mapping[str, Tensor], rate: float, config: TrainConfig) -> Tensor:
    """Take a step and return the sum of the losses, which nobody has looked at yet: that would wait for the GPU."""
    total = sum(losses.values(), start=torch.zeros((), device=next(run.head.parameters()).device))
    for group in run.optimizer.param_groups:
        group["lr"] = rate * group["share"]
    run.optimizer.zero_grad()
    total.backward()
    if config.max_gradient_norm > 0:
        nn.utils.clip_grad_norm_(run.head.parameters(), config.max_gradient_norm)
    run.optimizer.step()
    run.step += 1
    # The random initial weights would dominate the average early on, so its memory grows with the steps.
    move_average(run.average, run.head, decay=min(config.ema_decay, run.step / (10 + run.step)))
    return total.detach()


def _parts(network: nn.Module) -> tuple[Head, SolaModule | None]:
    """Return the head, and the module in front of it or None."""
    if isinstance(network, HeadWithSola):
        return network.head, network.module
    assert isinstance(network, Head)
    return network, None

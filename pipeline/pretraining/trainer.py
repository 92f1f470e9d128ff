"""Training of a snippet encoder on a pretext task, epoch by epoch, with checkpoints."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor

from encoders.runtime import resolve_device
from encoders.stages import freeze_stages
from encoders.start import StartEncoder
from pipeline.errors import PipelineError
from pipeline.pretraining.config import PretrainConfig
from pipeline.pretraining.task import Outcome, Task
from pipeline.pretraining.window_encoder import WindowEncoder, uses_bf16
from pipeline.storage.atomic_files import whole_file
from sola.distributed import ALONE, Team
from sola.metering import go_on_from, with_operations

_MOMENTUM = 0.9  # of SGD
_FALL = 0.01  # of the learning rate at a milestone


class EncoderTrainer:
    """The network with the task's heads, the optimizer and the history.

    With several ranks each takes its part of every step, and the gradients are summed. Batch norm takes its statistics
    from a rank's part; the ranks average them after each epoch.

    Args:
        start: the encoder that is trained; its network is changed in place.
        identity: of data and settings; a checkpoint of another identity is refused.
    """

    def __init__(
        self, start: StartEncoder, task: Task, config: PretrainConfig, *, identity: str, team: Team = ALONE
    ) -> None:
        self._task, self._config, self._identity, self._team = task, config, identity, team
        self._device = resolve_device(config.device)
        torch.manual_seed(config.seed)
        self.network = start.network.requires_grad_(True).to(self._device)
        self._frozen = freeze_stages(self.network, config.frozen_stages)
        bf16 = uses_bf16(config.precision, self._device)
        self._encode = WindowEncoder(self.network, start.spec, self._device, bf16=bf16)
        with self._evaluation():
            task.start(self.network, self._encode, self._device)
        self._groups = [
            ([p for p in self.network.parameters() if p.requires_grad], config.learning_rate),
            (list(task.heads.parameters()), config.head_learning_rate or config.learning_rate),
        ]
        groups = [{"params": parameters, "lr": rate} for parameters, rate in self._groups if parameters]
        self._rates = [rate for parameters, rate in self._groups if parameters]
        self._optimizer = _optimizer(groups, config)
        self._best: dict[str, Any] = {}
        self.epoch = 0
        self.seconds = 0.0
        self.history: list[dict[str, float]] = []

    def train(self) -> None:
        """Train one epoch and measure the held-out data; append both to the history.

        Raises:
            PipelineError: the loss is not finite; the message names the step.
        """
        started = time.monotonic()
        self.network.train()
        self._task.heads.train()
        for module in self._frozen:
            module.eval()
        sums: dict[str, float] = {}
        steps = 0
        for steps, batch in enumerate(self._task.batches(self.epoch, self._team), start=1):
            pace = self._pace(self.epoch + (steps - 1) / self._task.steps_per_epoch)
            for group, rate in zip(self._optimizer.param_groups, self._rates, strict=True):
                group["lr"] = rate * pace
            parts = self._task.losses(self._encode, batch)
            self._step(sum(parts.values(), torch.zeros((), device=self._device)) * batch.share, steps)
            for name, part in parts.items():
                sums[name] = sums.get(name, 0.0) + part.item() * batch.share
        self._average_batch_norm()
        self.epoch += 1
        self.seconds += time.monotonic() - started
        losses = {name: self._sum(value) / steps for name, value in sums.items()}
        record = {"loss": sum(losses.values())}
        if len(losses) > 1:
            record |= {f"{name}_loss": value for name, value in losses.items()}
        self.history.append(record | self._validated())

    def _step(self, loss: Tensor, number: int) -> None:
        if any(self._team.any([not bool(torch.isfinite(loss))], self._device)):
            raise PipelineError(
                f"the loss is not finite in epoch {self.epoch + 1}, step {number}: lower --learning-rate"
            )
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()
        if self._team.size > 1:
            self._sum_gradients()
        self._optimizer.step()
        self._task.after_step(self.network)

    def _sum_gradients(self) -> None:
        parameters = [p for group, _ in self._groups for p in group]
        flat = torch.cat([torch.zeros_like(p).flatten() if p.grad is None else p.grad.flatten() for p in parameters])
        total = self._team.total(flat).split([p.numel() for p in parameters])
        for parameter, gradient in zip(parameters, total, strict=True):
            parameter.grad = gradient.view_as(parameter)

    def _average_batch_norm(self) -> None:
        if self._team.size > 1:
            for buffer in self.network.buffers():
                if buffer.is_floating_point():
                    buffer.copy_(self._team.total(buffer) / self._team.size)

    def _sum(self, value: float) -> float:
        return value if self._team.size == 1 else self._team.total(torch.tensor(value, device=self._device)).item()

    def _pace(self, epoch: float) -> float:
        """Return the learning rate as a share of its peak: a rising line, then half a cosine to 0, or falls."""
        warm = min(self._config.warmup_epochs, self._config.epochs / 2)
        if epoch < warm:
            return (epoch + 0.1) / (warm + 0.1)
        if self._config.milestones:
            return float(_FALL ** sum(epoch >= milestone for milestone in self._config.milestones))
        return 0.5 * (1 + math.cos(math.pi * (epoch - warm) / max(1e-9, self._config.epochs - warm)))

    @contextmanager
    def _evaluation(self) -> Iterator[None]:
        self.network.eval()
        with torch.no_grad():
            yield

    def _validated(self) -> dict[str, float]:
        """Return the measures of the epoch, and keep its weights if they are the best so far."""
        measures: dict[str, float] = {}
        if self._team.is_first:
            self._task.heads.eval()
            with self._evaluation():
                measures = self._task.validate(self._encode)
        measures = self._team.broadcast(measures)
        score = next(iter(measures.values()), 0.0)
        if self._task.keeps_best and score > self._best.get("score", -math.inf):
            network = copy.deepcopy(self.network.state_dict())
            heads = copy.deepcopy(self._task.heads.state_dict())
            self._best = {"score": score, "epoch": self.epoch, "network": network, "heads": heads}
        return measures

    def finish(self) -> Outcome:
        """Take the weights of the kept epoch, and return what they reach on the held-out data."""
        if self._best:
            self.network.load_state_dict(self._best["network"])
            self._task.heads.load_state_dict(self._best["heads"])
        self._task.heads.eval()
        with self._evaluation():
            return self._task.outcome(self._encode)

    @property
    def kept_epoch(self) -> int:
        """The epoch of the kept weights, from 1."""
        return int(self._best.get("epoch", self.epoch))

    def save(self, path: Path) -> None:
        """Write a checkpoint."""
        state = {
            "identity": self._identity,
            "epoch": self.epoch,
            "seconds": self.seconds,
            "history": self.history,
            "network": self.network.state_dict(),
            "heads": self._task.heads.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "task": self._task.state(),
            "best": self._best,
        }
        with whole_file(path) as partial:
            torch.save(with_operations(state), partial)

    def load(self, path: Path) -> None:
        """Continue from a checkpoint of the same data and settings, if there is one.

        Raises:
            PipelineError: the file cannot be read, or is of other data or settings.
        """
        if not path.is_file():
            return
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
        except (RuntimeError, OSError, ValueError, EOFError, UnpicklingError) as error:
            raise PipelineError(f"{path} cannot be read ({error}); remove it to train from the start") from None
        if state["identity"] != self._identity:
            raise PipelineError(f"{path} is of other clips or settings; remove it, or choose another --out")
        if "heads" not in state:
            raise PipelineError(f"{path} is of an older version; remove it to train from the start")
        self.epoch, self.seconds, self.history = state["epoch"], state["seconds"], state["history"]
        self.network.load_state_dict(state["network"])
        self._task.heads.load_state_dict(state["heads"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._task.load_state(state["task"])
        self._best = state["best"]
        go_on_from(state)


def _optimizer(groups: list[dict[str, Any]], config: PretrainConfig) -> torch.optim.Optimizer:
    if config.optimizer == "sgd":
        return torch.optim.SGD(groups, momentum=_MOMENTUM, weight_decay=config.weight_decay)
    return torch.optim.AdamW(groups, weight_decay=config.weight_decay)

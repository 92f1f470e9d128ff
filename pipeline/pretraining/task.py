"""What a pretext task is: its data, its loss on an encoder's features, and what it measures on held-out data."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor, nn

from encoders.spec import EncoderSpec
from pipeline.pretraining.config import PretrainConfig
from pipeline.progress import Report
from sola.distributed import Team

Encode = Callable[[Tensor], Tensor]
"""Encodes windows of pixels, uint8 [N, F, S, S, 3], into features, float32 [N, C]; with gradient while training."""


@dataclass(frozen=True)
class TaskBatch:
    """The windows of one optimizer step, or this rank's part of them.

    Args:
        pixels: uint8 [N, F, S, S, 3], the frames of N windows that the network uses.
        targets: what the task's loss needs.
        share: of the step's loss that this part makes up; gradients are summed over the ranks.
    """

    pixels: Tensor
    targets: Mapping[str, Tensor]
    share: float = 1.0


@dataclass(frozen=True)
class Outcome:
    """What a task measures on held-out data at the end.

    Args:
        text: for the user, what was measured on what.
        measures: by name, the main one first, 0 to 1.
        details: more facts, as JSON values.
    """

    text: str
    measures: dict[str, float]
    details: dict[str, Any] = field(default_factory=dict)


class Task(Protocol):
    """A pretext task with its data."""

    keeps_best: ClassVar[bool]
    """Whether the epoch of the best main measure is kept; else the last."""

    samples: tuple[int, int]
    """Numbers of training samples and of held-out samples."""

    failed: dict[str, str]
    """Path → reason of the files that could not be read."""

    about: dict[str, Any]
    """Facts for the weights file, as JSON values."""

    heads: nn.Module
    """Trained beside the encoder and dropped afterwards; there after `start`."""

    steps_per_epoch: int

    def start(self, network: nn.Module, encode: Encode, device: torch.device) -> None:
        """Build the heads on `device`. The network still has its initial weights, also when training resumes."""

    def batches(self, epoch: int, team: Team) -> Iterator[TaskBatch]:
        """Yield this rank's part of each step of an epoch, a function of the seed and `epoch` (from 0) only."""

    def losses(self, encode: Encode, batch: TaskBatch) -> dict[str, Tensor]:
        """Return the parts of the loss, weighted; their sum is minimized."""

    def after_step(self, network: nn.Module) -> None:
        """Follow a step of the optimizer, for example with a moving average of the weights."""

    def validate(self, encode: Encode) -> dict[str, float]:
        """Return the measures on held-out data, the main one first, 0 to 1; the network is in evaluation mode."""

    def outcome(self, encode: Encode) -> Outcome:
        """Return what the trained encoder reaches on held-out data."""

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint must hold beside the heads: tensors and plain values."""

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Continue from what `state` returned."""


class TaskPlan(Protocol):
    """A task before its frames are read: enough to tell whether it is done already."""

    @property
    def facts(self) -> Any:
        """What tells this data from others, as JSON values."""

    @property
    def files(self) -> Sequence[Path]:
        """The files that the task reads."""

    def prepare(self, folder: Path, report: Report) -> Task:
        """Cache what the task reads in `folder`, and return the task.

        Args:
            report: gets the share that is done, 0 to 1.
        """


@dataclass(frozen=True)
class Request:
    """What the user asks for: the videos or clips, their annotations if given, and the settings."""

    source: Path
    annotations: Path | None
    spec: EncoderSpec
    config: PretrainConfig

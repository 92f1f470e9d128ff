"""One optimizer step of an encoder with a head."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from encoders.spec import EncoderSpec
from pipeline.errors import PipelineError
from pipeline.heads.config import TrainConfig
from pipeline.training.batches import TrainItem
from pipeline.training.chunked_gradient import ChunkedEncoder, sampled_rows, two_pass_gradient
from pipeline.training.end_to_end_config import EndToEndConfig
from pipeline.training.end_to_end_state import Run
from pipeline.training.frame_cache import CachedVideo
from pipeline.training.schedule import learning_rate_at, steps_per_epoch
from pipeline.training.weights import move_average
from pipeline.training.window_batches import batch_of, draw_windows
from pipeline.training.window_frames import View, Window, Windows
from sola.distributed import ALONE, Team

_VIEWS = 1  # tells the seeds of crops and flips from those of the epochs


@dataclass(frozen=True)
class Sample:
    """A video to train or validate on: its segments, and its small frames."""

    item: TrainItem
    video: CachedVideo


@dataclass(frozen=True)
class StepReport:
    """The result of an optimizer step.

    Args:
        done, steps: number of steps taken, and of all.
        epoch, epochs: the present epoch, from 1, and their number.
        losses: the head's, of this step.
        gradient_share: norm of the encoder's gradient as a share of that of all, before clipping.
        change: norm of the change of the encoder's weights since the start, as a share of the norm of the weights.
        snippets_a_second: that the step took; each has the frames of the encoder's window.
        best_map: the best validation mean average precision so far; None without one.
    """

    done: int
    steps: int
    epoch: int
    epochs: int
    losses: Mapping[str, float]
    gradient_share: float
    change: float
    snippets_a_second: float
    best_map: float | None


@dataclass(frozen=True)
class Job:
    """Everything that stays the same during training. The ranks of `team` share the snippets of each step."""

    train: Sequence[Sample]
    val: Sequence[Sample]
    labels: Sequence[str]
    spec: EncoderSpec
    config: TrainConfig
    settings: EndToEndConfig
    device: torch.device
    team: Team = ALONE

    @property
    def steps(self) -> int:
        return self.config.epochs * steps_per_epoch(len(self.train), self.config)

    def items(self, encoder: nn.Module, samples: Sequence[Sample]) -> list[TrainItem]:
        """Return the samples with features that the encoder makes when they are asked for."""
        return [replace(s.item, features=partial(self._features, encoder, s.video)) for s in samples]

    def _features(self, encoder: nn.Module, video: CachedVideo) -> np.ndarray:
        window = Window(video, 0, video.snippets, View.center(self.spec, video))
        chunked = ChunkedEncoder(encoder, window.snippets, self.settings.chunk_snippets)
        found = chunked.features(range(video.snippets), team=self.team)
        features: np.ndarray = found.cpu().numpy()
        return features


def take_step(run: Run, job: Job, samples: Sequence[Sample]) -> StepReport:
    """Draw a window of each video, and update encoder and head by the loss on them.

    Raises:
        PipelineError: the loss or the gradient is not finite.
    """
    began, run.is_consistent = time.monotonic(), False
    config, settings, network = job.config, job.settings, run.network
    items = [sample.item for sample in samples]
    counts = [sample.video.snippets for sample in samples]
    drawn = draw_windows(items, counts, labels=job.labels, config=config.head, rng=run.rng)
    own = np.random.default_rng([config.seed, _VIEWS, run.step])  # the other draws are those of `train_head`
    crop_and_flip = {"crop": settings.random_crop, "flip": settings.flip}
    views = [View.random(job.spec, sample.video, own, **crop_and_flip) for sample in samples]
    windows = Windows([Window(s.video, d.first, d.count, v) for s, d, v in zip(samples, drawn, views, strict=True)])

    def losses_of(features: Tensor) -> dict[str, Tensor]:
        batch = batch_of(drawn, windows.split(features))
        losses: dict[str, Tensor] = network.head.loss(network.head(batch.features, batch.mask), batch.targets)
        _require_finite(sum(value.item() for value in losses.values()), "loss", run, job)
        return losses

    run.optimizer.zero_grad()
    losses = two_pass_gradient(
        ChunkedEncoder(network.encoder, windows.read, settings.chunk_snippets),
        len(windows),
        losses_of,
        rows=sampled_rows(len(windows), settings.gradient_share, own),
        team=job.team,
    )
    share = _update(run, job)
    shown = {name: value.item() for name, value in losses.items()}
    run.of_epoch.append({**shown, "gradient_share": share})
    run.step, run.done, run.is_consistent = run.step + 1, run.done + 1, True
    rate = len(windows) / max(1e-9, time.monotonic() - began)
    epoch, change, best = run.epoch + 1, run.encoder_change(), run.best["map"]
    return StepReport(run.step, job.steps, epoch, config.epochs, shown, share, change, rate, best)


def _update(run: Run, job: Job) -> float:
    """Move all weights against their gradients; return the encoder's share of the norm.

    Encoder and head are clipped apart, so that neither changes how the other learns.
    """
    config, network = job.config, run.network
    encoder = [p for p in network.encoder.parameters() if p.requires_grad]
    if job.team.size > 1:
        sum_gradients(encoder, job.team)
    limit = config.max_gradient_norm or float("inf")
    of_encoder = nn.utils.clip_grad_norm_(encoder, limit).item()
    of_head = nn.utils.clip_grad_norm_(network.head.parameters(), limit).item()
    _require_finite(of_encoder + of_head, "norm of the gradient", run, job)
    rate = learning_rate_at(run.step, total_steps=job.steps, config=config)
    for group in run.optimizer.param_groups:
        group["lr"] = rate * group["share"]
    run.optimizer.step()
    # The random initial weights would dominate the average early on, so its memory grows with the steps.
    taken = run.step + 1
    move_average(run.average, network, decay=min(config.ema_decay, taken / (10 + taken)))
    return of_encoder / max(1e-30, float(np.hypot(of_encoder, of_head)))


def sum_gradients(parameters: Sequence[nn.Parameter], team: Team) -> None:
    """Replace each gradient by its sum over the ranks; one that a rank lacks counts as 0."""
    flat = torch.cat([torch.zeros_like(p).flatten() if p.grad is None else p.grad.flatten() for p in parameters])
    for parameter, total in zip(parameters, team.total(flat).split([p.numel() for p in parameters]), strict=True):
        parameter.grad = total.view_as(parameter)


def _require_finite(value: float, what: str, run: Run, job: Job) -> None:
    if not np.isfinite(value):
        raise PipelineError(
            f"the {what} became {value} at step {run.step}; lower learning_rate={job.config.learning_rate} or "
            f"encoder_learning_rate={job.settings.encoder_learning_rate}"
        )

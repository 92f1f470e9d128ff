"""Fit the SoLa module to a data set by similarity matching, without labels."""

from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import asdict, astuple, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from sola.checkpoint import fit_identity, load_checkpoint, save_checkpoint
from sola.config import SolaConfig
from sola.diagnostics import fit_warnings
from sola.distributed import ALONE, Team, interrupts_noted
from sola.errors import SolaError
from sola.fit_state import FitState, fit_state_dict, new_fit_state, restore_fit
from sola.fit_step import LossFunction, shared_loss, train_step
from sola.gauge import Gauge, Losses, measure, measure_losses
from sola.interrupt import interrupt_held_back
from sola.module import SolaModule
from sola.resident import ResidentFeatures, is_worthwhile, load_features
from sola.sampling import (
    FeatureSource,
    WindowBatch,
    Windows,
    draw_epoch,
    lengths_of,
    read_windows,
    split_into_steps,
    steps_in_epoch,
)
from sola.statistics import feature_statistics

# A fit of at least this many optimizer steps warns half-way already.
LONG_STEPS = 2000


@dataclass(frozen=True)
class StepRecord:
    """The measures of an optimizer step before its update; `step` counts from 1, `epoch` from 0.

    The measures are those of `sola.fit_step.StepMeasures`.
    """

    step: int
    epoch: int
    loss: float
    gate: float
    correction_ratio: float
    spread: float
    rank: float
    constant_loss: float
    least_loss: float


@dataclass(frozen=True)
class FitResult:
    """The fitted module on the CPU, its training curve, whether all steps were taken, and what they won.

    `gauge` is None for an unfinished fit, and for all ranks but the first.
    """

    module: SolaModule
    history: tuple[StepRecord, ...]
    steps: int
    finished: bool
    gauge: Gauge | None = None


def fit(
    source: FeatureSource,
    config: SolaConfig,
    *,
    channels: int,
    checkpoint: Path | None = None,
    on_start: Callable[[Losses], None] | None = None,
    on_step: Callable[[StepRecord, int], None] | None = None,
    on_warning: Callable[[str], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
    team: Team = ALONE,
) -> FitResult:
    """Fit a module to the source, resuming from the checkpoint if there is one.

    Seeded: a resumed fit ends with the same bits as an uninterrupted one, on one device and number of threads. On
    KeyboardInterrupt the checkpoint is written before it propagates.

    With several processes, all ranks call this with the same arguments. Each computes its shard of every step, and
    rank 0 writes the checkpoint. A step sees the same windows as with one process, so the curve is equal to rounding.

    Args:
        source: feature sequences of any lengths >= 1; read by `config.readers` threads at once.
        config: all settings.
        channels: C of the features.
        checkpoint: file of the unfinished state; written every `checkpoint_every_steps` and at the end.
        on_start: called on rank 0 before the first step with the losses of the plain features.
        on_step: called after every step with its record and the number of all steps.
        on_warning: called with each warning about the fit, at its end and, if it is long, already half-way.
        should_stop: called after every step; True ends the fit there, with the checkpoint written.
        team: the processes that share the work.

    Raises:
        SolaError: the data do not suit the settings, the checkpoint is of another fit, the loss is not finite, or
            another rank has ended.
    """
    lengths = lengths_of(source)
    total = config.steps or config.epochs * steps_in_epoch(len(lengths), config)
    _refuse_idle(len(lengths), config, team)
    statistics = feature_statistics(source, lengths, config.normalize)
    fit_state = new_fit_state(channels, config, statistics=statistics, team=team)
    identity = fit_identity(source, lengths, config, channels)
    progress = _Progress(fit_state, config, total, checkpoint, identity)
    progress.resume()
    if on_start is not None and team.is_first and progress.done == 0:
        on_start(measure_losses(source, lengths, fit_state))
    warn = partial(_warn, progress, on_warning)
    on_gpu = fit_state.module.alpha.device.type == "cuda"
    steps = range(progress.done, total)
    batches = _batches(source, lengths, fit_state, steps, pinned=on_gpu)
    try:
        finished = _take_steps(progress, batches, on_step=on_step, warn=warn, should_stop=should_stop)
    finally:
        batches.close()
    gauge = None
    if finished:
        warn()
        gauge = measure(source, lengths, fit_state) if team.is_first else None
    return FitResult(fit_state.module.cpu().eval(), tuple(progress.history), progress.done, finished, gauge)


class _Progress:
    """The steps taken so far, their curve, and their checkpoint.

    Attributes:
        done: number of steps taken.
        total: number of all steps.
        history: the curve so far.
        consistent: False while a step is half done, and afterwards if it failed: there is nothing to save then.
    """

    def __init__(
        self, fit_state: FitState, config: SolaConfig, total: int, checkpoint: Path | None, identity: dict[str, Any]
    ) -> None:
        self.fit_state = fit_state
        self.config = config
        self.total = total
        self.done = 0
        self.history: list[StepRecord] = []
        self.consistent = True
        self._checkpoint = checkpoint
        self._identity = identity
        self._team = fit_state.team

    def resume(self) -> None:
        """Load the checkpoint, if there is one; raise SolaError if it does not suit this fit."""
        if self._checkpoint is not None and self._team.broadcast(self._checkpoint.exists()):
            state = load_checkpoint(self._checkpoint, self._identity)
            restore_fit(self.fit_state, state)
            self.done = state["step"]
            self.history = [StepRecord(*values) for values in state["history"]]
        if self.done > self.total:
            raise SolaError(
                f"{self._checkpoint} has taken {self.done} steps, but steps (or epochs) ask for {self.total}: "
                "raise them"
            )

    def save(self) -> None:
        """Write the checkpoint, on rank 0."""
        if self._checkpoint is not None and self._team.is_first:
            state = fit_state_dict(self.fit_state)
            state |= {"step": self.done, "history": [astuple(record) for record in self.history]}
            save_checkpoint(self._checkpoint, self._identity, state)

    def step(self, epoch: int, batch: WindowBatch, loss_of: LossFunction) -> StepRecord:
        """Take a step, which Ctrl-C cannot interrupt half-way, and return its record."""
        with interrupt_held_back():
            self.consistent = False
            measures = train_step(self.fit_state, batch, step=self.done + 1, loss_of=loss_of)
            self.done += 1
            record = StepRecord(self.done, epoch, **asdict(measures))
            if self.done % self.config.log_every_steps == 0 or self.done in (1, self.total):
                self.history.append(record)
            self.consistent = True
        return record


def _warn(progress: _Progress, on_warning: Callable[[str], None] | None) -> None:
    if on_warning is not None:
        for warning in fit_warnings(progress.history, progress.config):
            on_warning(warning)


def _take_steps(
    progress: _Progress,
    batches: Iterator[tuple[int, WindowBatch]],
    *,
    on_step: Callable[[StepRecord, int], None] | None,
    warn: Callable[[], None],
    should_stop: Callable[[], bool] | None,
) -> bool:
    """Take the remaining steps, and return whether all are taken; False if `should_stop` ended the fit."""
    fit_state, total = progress.fit_state, progress.total
    team, device = fit_state.team, fit_state.module.alpha.device
    loss_of = shared_loss(fit_state)
    # With one process, Ctrl-C takes effect at once. With several, all ranks must learn of it and end after one step.
    nothing_noted: list[int] = []
    with interrupts_noted() if team.size > 1 else nullcontext(nothing_noted) as noted:
        try:
            for epoch, batch in batches:
                record = progress.step(epoch, batch, loss_of)
                if progress.done % progress.config.checkpoint_every_steps == 0 and progress.done < total:
                    progress.save()
                if on_step is not None:
                    on_step(record, total)
                if progress.done == total // 2 and total >= LONG_STEPS:
                    warn()
                wishes = (bool(noted), should_stop is not None and should_stop())
                interrupted, stop = team.any(wishes, device)
                if interrupted:
                    raise KeyboardInterrupt
                if stop:
                    break
            progress.save()
        except KeyboardInterrupt:
            if progress.consistent:
                progress.save()
            raise
    if noted:  # after the last step
        raise KeyboardInterrupt
    return progress.done == total


def _refuse_idle(videos: int, config: SolaConfig, team: Team) -> None:
    """Raise SolaError if there are more ranks than windows in a step."""
    fewest = videos * config.windows_per_video // steps_in_epoch(videos, config)
    if fewest < team.size:
        raise SolaError(
            f"{team.size} processes cannot share steps of {fewest} windows: raise batch_size or windows_per_video, or "
            "start fewer processes"
        )


def _batches(
    source: FeatureSource, lengths: np.ndarray, fit_state: FitState, steps: range, *, pinned: bool
) -> Generator[tuple[int, WindowBatch], None, None]:
    """Yield the epoch and this rank's windows of each step; the next are read while this one is computed.

    Where they fit, all features go to the GPU once, and windows are gathered there.

    Args:
        pinned: whether to put the windows into pinned memory, from which a GPU copies without waiting.
    """

    config, positions = fit_state.config, fit_state.plan.positions[0].tolist()
    channels, window_snippets, padding = fit_state.module.channels, config.window_snippets, config.padding
    device, to_read = fit_state.module.alpha.device, len(steps) * config.batch_size * len(positions)
    resident: ResidentFeatures | None = None
    if is_worthwhile(lengths, channels, device, rows_to_read=to_read):
        resident = load_features(source, lengths, channels, device)

    def read(windows: Windows) -> WindowBatch:
        if resident is not None:
            return resident.windows(windows, positions, window_snippets=window_snippets, padding=padding)
        batch = read_windows(
            source, windows, positions, channels=channels, window_snippets=window_snippets, padding=padding
        )
        return replace(batch, rows=batch.rows.pin_memory()) if pinned else batch

    pending: deque[tuple[int, Future[WindowBatch]]] = deque()

    def oldest() -> tuple[int, WindowBatch]:
        epoch, batch = pending.popleft()
        return epoch, batch.result()

    with ThreadPoolExecutor(config.readers) as readers:
        try:
            for epoch, windows in _schedule(lengths, config, steps):
                share = fit_state.team.shard(len(windows))
                mine = Windows(windows.videos[share], windows.firsts[share])
                pending.append((epoch, readers.submit(read, mine)))
                if len(pending) > config.readers:
                    yield oldest()
            while pending:
                yield oldest()
        finally:  # a fit that ends early does not need the rest
            readers.shutdown(wait=False, cancel_futures=True)


def _schedule(lengths: np.ndarray, config: SolaConfig, steps: range) -> Iterator[tuple[int, Windows]]:
    per_epoch = steps_in_epoch(len(lengths), config)
    drawn: tuple[int, list[Windows]] | None = None
    for step in steps:
        epoch, place = divmod(step, per_epoch)
        if drawn is None or drawn[0] != epoch:
            drawn = epoch, split_into_steps(draw_epoch(lengths, config, epoch), config.batch_size)
        yield epoch, drawn[1][place]

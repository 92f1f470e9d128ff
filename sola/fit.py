"""Fitting the SoLa module to a data set by similarity matching, without labels."""

from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, astuple, dataclass
from pathlib import Path

import numpy as np

from sola.checkpoint import fit_identity, load_checkpoint, save_checkpoint
from sola.config import SolaConfig
from sola.errors import SolaError
from sola.health import fit_warnings
from sola.interrupt import interrupt_held_back
from sola.learner import Scale, learner_state, new_learner, restore_learner, train_step
from sola.module import SolaModule
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

# From so many optimiser steps on, a fit is long enough that its user wants to hear half-way that it gets nowhere.
LONG_STEPS = 2000


@dataclass(frozen=True)
class StepRecord:
    """What an optimiser step showed before its update; `step` counts from 1, `epoch` from 0.

    The measures are those of `sola.learner.StepMeasures`.
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
    """The fitted module on the CPU, its training curve, and whether all steps were taken."""

    module: SolaModule
    history: tuple[StepRecord, ...]
    steps: int
    finished: bool


def fit(
    source: FeatureSource,
    config: SolaConfig,
    *,
    channels: int,
    checkpoint: Path | None = None,
    on_step: Callable[[StepRecord, int], None] | None = None,
    on_warning: Callable[[str], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> FitResult:
    """The module fitted to the source, going on from the checkpoint where there is one.

    Seeded; a fit that was interrupted and goes on ends with the same bits as one that was not, on one device and
    number of threads. On KeyboardInterrupt the checkpoint is written before it propagates.

    Args:
        source: feature sequences of any lengths >= 1.
        config: all settings.
        channels: C of the features.
        checkpoint: file of the unfinished state; written every `checkpoint_every_steps` and at the end.
        on_step: called after every step with its record and the number of all steps.
        on_warning: told what speaks against the fit, at its end and, where it is long, already half-way.
        should_stop: asked after every step; True ends the fit there, with the checkpoint written.

    Raises:
        SolaError: the data do not suit the settings, the checkpoint is of another fit, or the loss is not finite.
    """
    lengths = lengths_of(source)
    total = config.steps or config.epochs * steps_in_epoch(len(lengths), config)
    statistics = feature_statistics(source, lengths, channels, config.comparison)
    learner = new_learner(channels, config, statistics=statistics)
    identity = fit_identity(source, lengths, config, channels)
    done = 0
    history: list[StepRecord] = []
    if checkpoint is not None and checkpoint.exists():
        state = load_checkpoint(checkpoint, identity)
        restore_learner(learner, state)
        done = state["step"]
        history = [StepRecord(*values) for values in state["history"]]
    if done > total:
        raise SolaError(f"{checkpoint} has taken {done} steps, but steps (or epochs) ask for {total}: raise them")

    def save() -> None:
        if checkpoint is not None:
            curve = [astuple(record) for record in history]
            save_checkpoint(checkpoint, identity, learner_state(learner) | {"step": done, "history": curve})

    def warn() -> None:
        for warning in fit_warnings(history, config):
            if on_warning is not None:
                on_warning(warning)

    batches = _batches(source, lengths, learner.scales, config, channels, range(done, total))
    consistent, stopped = True, False
    try:
        for epoch, scale, batch in batches:
            with interrupt_held_back():
                consistent = False
                measures = train_step(learner, batch, scale, step=done + 1)
                done += 1
                record = StepRecord(done, epoch, **asdict(measures))
                if done % config.log_every_steps == 0 or done in (1, total):
                    history.append(record)
                consistent = True
            if done % config.checkpoint_every_steps == 0 and done < total:
                save()
            if on_step is not None:
                on_step(record, total)
            if done == total // 2 and total >= LONG_STEPS:
                warn()
            if should_stop is not None and should_stop():
                stopped = done < total
                break
        save()
    except KeyboardInterrupt:
        if consistent:
            save()
        raise
    finally:
        batches.close()
    if not stopped:
        warn()
    return FitResult(learner.module.cpu().eval(), tuple(history), done, finished=not stopped)


def _batches(
    source: FeatureSource,
    lengths: np.ndarray,
    scales: Sequence[Scale],
    config: SolaConfig,
    channels: int,
    steps: range,
) -> Generator[tuple[int, Scale, WindowBatch], None, None]:
    """Epoch, scale and windows of each step; the next step's are read while the present one is computed."""

    def read(windows: Windows, scale: Scale) -> WindowBatch:
        return read_windows(
            source,
            windows,
            scale.plan.positions[0].tolist(),
            channels=channels,
            window_snippets=scale.config.window_snippets,
        )

    with ThreadPoolExecutor(1) as reader:
        pending = None
        for epoch, scale, windows in _schedule(lengths, scales, config, steps):
            following = (epoch, scale, reader.submit(read, windows, scale))
            if pending is not None:
                yield pending[0], pending[1], pending[2].result()
            pending = following
        if pending is not None:
            yield pending[0], pending[1], pending[2].result()


def _schedule(
    lengths: np.ndarray, scales: Sequence[Scale], config: SolaConfig, steps: range
) -> Iterator[tuple[int, Scale, Windows]]:
    per_epoch = steps_in_epoch(len(lengths), config)
    drawn: tuple[int, list[list[Windows]]] | None = None
    for step in steps:
        epoch, place = divmod(step, per_epoch)
        if drawn is None or drawn[0] != epoch:
            # The order of the videos is the same at every scale, so each video is seen once whatever the turns.
            epochs = [draw_epoch(lengths, scale.config, epoch) for scale in scales]
            drawn = epoch, [split_into_steps(windows, config.batch_size) for windows in epochs]
        turn = step % len(scales)
        yield epoch, scales[turn], drawn[1][turn][place]

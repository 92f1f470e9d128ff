"""Fitting the SoLa module to a data set by similarity matching, without labels."""

from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, astuple, dataclass, replace
from pathlib import Path

import numpy as np

from sola.checkpoint import fit_identity, load_checkpoint, save_checkpoint
from sola.config import SolaConfig
from sola.diagnostics import fit_warnings
from sola.distributed import ALONE, Team, interrupts_noted
from sola.errors import SolaError
from sola.fit_state import Scale, fit_state_dict, new_fit_state, restore_fit, shared_loss, train_step
from sola.interrupt import interrupt_held_back
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

# From so many optimizer steps on, a fit is long enough that its user wants to hear half-way that it gets nowhere.
LONG_STEPS = 2000


@dataclass(frozen=True)
class StepRecord:
    """What an optimizer step showed before its update; `step` counts from 1, `epoch` from 0.

    The measures are those of `sola.fit_state.StepMeasures`.
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
    team: Team = ALONE,
) -> FitResult:
    """The module fitted to the source, going on from the checkpoint where there is one.

    Seeded; a fit that was interrupted and goes on ends with the same bits as one that was not, on one device and
    number of threads. On KeyboardInterrupt the checkpoint is written before it propagates.

    In a team all processes call this with the same arguments, each computes its share of every step, and the first
    writes the checkpoint. The steps see the windows that one process sees, so that the curve is the same to rounding.

    Args:
        source: feature sequences of any lengths >= 1; asked by `config.readers` threads at once.
        config: all settings.
        channels: C of the features.
        checkpoint: file of the unfinished state; written every `checkpoint_every_steps` and at the end.
        on_step: called after every step with its record and the number of all steps.
        on_warning: told what speaks against the fit, at its end and, where it is long, already half-way.
        should_stop: asked after every step; True ends the fit there, with the checkpoint written.
        team: the processes that share the work.

    Raises:
        SolaError: the data do not suit the settings, the checkpoint is of another fit, the loss is not finite, or a
            process of the team has ended.
    """
    lengths = lengths_of(source)
    total = config.steps or config.epochs * steps_in_epoch(len(lengths), config)
    _refuse_idle(len(lengths), config, team)
    statistics = feature_statistics(source, lengths, channels, config.normalize)
    fit_state = new_fit_state(channels, config, statistics=statistics, team=team)
    identity = fit_identity(source, lengths, config, channels)
    done = 0
    history: list[StepRecord] = []
    if checkpoint is not None and team.broadcast(checkpoint.exists()):
        state = load_checkpoint(checkpoint, identity)
        restore_fit(fit_state, state)
        done = state["step"]
        history = [StepRecord(*values) for values in state["history"]]
    if done > total:
        raise SolaError(f"{checkpoint} has taken {done} steps, but steps (or epochs) ask for {total}: raise them")

    def save() -> None:
        if checkpoint is not None and team.is_first:
            curve = [astuple(record) for record in history]
            save_checkpoint(checkpoint, identity, fit_state_dict(fit_state) | {"step": done, "history": curve})

    def warn() -> None:
        for warning in fit_warnings(history, config):
            if on_warning is not None:
                on_warning(warning)

    loss_of = shared_loss(fit_state)
    on_gpu = fit_state.module.alpha.device.type == "cuda"
    batches = _batches(source, lengths, fit_state.scales, config, channels, range(done, total), team, pinned=on_gpu)
    consistent, stopped = True, False
    # Alone, Ctrl-C takes effect at once. In a team, all must hear of it, and end after the same step.
    held = ExitStack()
    noted: list[int] = held.enter_context(interrupts_noted()) if team.size > 1 else []
    try:
        for epoch, scale, batch in batches:
            with interrupt_held_back():
                consistent = False
                measures = train_step(fit_state, batch, scale, step=done + 1, loss_of=loss_of)
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
            wishes = (bool(noted), should_stop is not None and should_stop())
            interrupted, stop = team.any(wishes, fit_state.module.alpha.device)
            if interrupted:
                raise KeyboardInterrupt
            if stop:
                stopped = done < total
                break
        save()
    except KeyboardInterrupt:
        if consistent:
            save()
        raise
    finally:
        held.close()
        batches.close()
    if noted:  # after the last step
        raise KeyboardInterrupt
    if not stopped:
        warn()
    return FitResult(fit_state.module.cpu().eval(), tuple(history), done, finished=not stopped)


def _refuse_idle(videos: int, config: SolaConfig, team: Team) -> None:
    """Refuses a team that has more processes than a step has windows."""
    fewest = videos * config.windows_per_video // steps_in_epoch(videos, config)
    if fewest < team.size:
        raise SolaError(
            f"{team.size} processes cannot share steps of {fewest} windows: raise batch_size or windows_per_video, or "
            "start fewer processes"
        )


def _batches(
    source: FeatureSource,
    lengths: np.ndarray,
    scales: Sequence[Scale],
    config: SolaConfig,
    channels: int,
    steps: range,
    team: Team,
    *,
    pinned: bool,
) -> Generator[tuple[int, Scale, WindowBatch], None, None]:
    """Epoch, scale and the team member's windows of each step; the next ones' are read while this one is computed.

    Args:
        pinned: whether the windows are to lie in pinned memory, from where a GPU takes them without waiting.
    """

    def read(windows: Windows, scale: Scale) -> WindowBatch:
        batch = read_windows(
            source,
            windows,
            scale.plan.positions[0].tolist(),
            channels=channels,
            window_snippets=scale.config.window_snippets,
        )
        return replace(batch, rows=batch.rows.pin_memory()) if pinned else batch

    pending: deque[tuple[int, Scale, Future[WindowBatch]]] = deque()

    def oldest() -> tuple[int, Scale, WindowBatch]:
        epoch, scale, batch = pending.popleft()
        return epoch, scale, batch.result()

    with ThreadPoolExecutor(config.readers) as readers:
        try:
            for epoch, scale, windows in _schedule(lengths, scales, config, steps):
                share = team.shard(len(windows))
                mine = Windows(windows.videos[share], windows.firsts[share])
                pending.append((epoch, scale, readers.submit(read, mine, scale)))
                if len(pending) > config.readers:
                    yield oldest()
            while pending:
                yield oldest()
        finally:  # of a fit that ends early nobody wants the rest
            readers.shutdown(wait=False, cancel_futures=True)


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

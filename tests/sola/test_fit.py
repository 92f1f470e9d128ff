"""Drawing windows, fitting, resuming, and errors."""

import os
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from sola.config import SolaConfig
from sola.errors import SolaError
from sola.fit import StepRecord, fit
from sola.interrupt import interrupt_held_back

CHANNELS = 10
SMALL = SolaConfig(
    hidden=8, predictor_hidden=8, batch_size=4, steps=7, learning_rate=1e-2, log_every_steps=1, device="cpu"
)
MIXED_LENGTHS = (1, 2, 5, 22, 23, 24, 90)


class Videos:
    """Random feature sequences in memory."""

    def __init__(self, lengths: tuple[int, ...], *, seed: int = 0, channels: int = CHANNELS) -> None:
        random = np.random.default_rng(seed)
        self.sequences = [random.normal(size=(n, channels)).astype(np.float32) for n in lengths]

    def __len__(self) -> int:
        return len(self.sequences)

    def length(self, index: int) -> int:
        return len(self.sequences[index])

    def rows(self, index: int, start: int, stop: int) -> np.ndarray:
        assert 0 <= start < stop <= self.length(index), "only rows of the video may be asked for"
        return self.sequences[index][start:stop]


def weights_of(checkpoint: Path) -> list[tuple[str, torch.Tensor]]:
    """Return every tensor of a checkpoint's state: module, predictor, optimizer."""
    found: list[tuple[str, torch.Tensor]] = []

    def walk(name: str, value: object) -> None:
        if isinstance(value, torch.Tensor):
            found.append((name, value))
        elif isinstance(value, dict):
            for key, inner in value.items():
                walk(f"{name}.{key}", inner)

    walk("", torch.load(checkpoint, weights_only=True)["state"])
    return found


def assert_same_state(one: Path, other: Path) -> None:
    first, second = weights_of(one), weights_of(other)
    assert len(first) == 11 + 3 * 11, "eleven parameters, each with the optimizer's step and two moments"
    for (name, a), (_, b) in zip(first, second, strict=True):
        assert torch.equal(a, b), name


def stop_after(step: int) -> object:
    def on_step(record: StepRecord, total: int) -> None:
        if record.step == step:
            raise KeyboardInterrupt

    return on_step


@pytest.mark.parametrize("step", [1, 2, 3, 5])
def test_an_interrupted_fit_goes_on_to_the_same_bits(tmp_path: Path, step: int) -> None:
    source = Videos(MIXED_LENGTHS)
    whole = fit(source, SMALL, channels=CHANNELS, checkpoint=tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        fit(source, SMALL, channels=CHANNELS, checkpoint=tmp_path / "cut", on_step=stop_after(step))
    seen: list[int] = []
    resumed = fit(
        source, SMALL, channels=CHANNELS, checkpoint=tmp_path / "cut",
        on_step=lambda record, total: seen.append(record.step),
    )  # fmt: skip
    assert seen == list(range(step + 1, 8))
    assert_same_state(tmp_path / "whole", tmp_path / "cut")
    assert resumed.history == whole.history
    assert [record.step for record in whole.history] == list(range(1, 8))


def test_a_stopped_fit_says_so_and_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    source = Videos(MIXED_LENGTHS)
    stopped = fit(source, SMALL, channels=CHANNELS, checkpoint=tmp_path / "cut", should_stop=lambda: True)
    assert (stopped.finished, stopped.steps) == (False, 1)
    assert fit(source, SMALL, channels=CHANNELS, checkpoint=tmp_path / "cut").finished
    assert fit(source, SMALL, channels=CHANNELS, checkpoint=tmp_path / "whole").finished
    assert_same_state(tmp_path / "whole", tmp_path / "cut")


def test_a_periodic_checkpoint_is_enough_to_go_on_after_a_crash(tmp_path: Path) -> None:
    def crash(record: StepRecord, total: int) -> None:
        if record.step == 5:
            raise RuntimeError("power cut")

    source = Videos(MIXED_LENGTHS)
    often = replace(SMALL, checkpoint_every_steps=2)
    with pytest.raises(RuntimeError):
        fit(source, often, channels=CHANNELS, checkpoint=tmp_path / "cut", on_step=crash)
    assert torch.load(tmp_path / "cut", weights_only=True)["state"]["step"] == 4
    fit(source, often, channels=CHANNELS, checkpoint=tmp_path / "cut")
    fit(source, SMALL, channels=CHANNELS, checkpoint=tmp_path / "whole")
    assert_same_state(tmp_path / "whole", tmp_path / "cut")


def test_a_finished_fit_can_be_given_more_steps(tmp_path: Path) -> None:
    source = Videos(MIXED_LENGTHS)
    fit(source, replace(SMALL, steps=3), channels=CHANNELS, checkpoint=tmp_path / "more")
    fit(source, SMALL, channels=CHANNELS, checkpoint=tmp_path / "more")
    fit(source, SMALL, channels=CHANNELS, checkpoint=tmp_path / "whole")
    assert_same_state(tmp_path / "whole", tmp_path / "more")
    with pytest.raises(SolaError, match="has taken 7 steps"):
        fit(source, replace(SMALL, steps=3), channels=CHANNELS, checkpoint=tmp_path / "more")


def test_a_checkpoint_of_other_settings_is_refused_with_the_differences_named(tmp_path: Path) -> None:
    source, path = Videos(MIXED_LENGTHS), tmp_path / "c"
    fit(source, SMALL, channels=CHANNELS, checkpoint=path)
    with pytest.raises(SolaError, match=r"seed \(checkpoint 0, now 1\), target_sharpness \(checkpoint 16.0, now 9.0\)"):
        fit(source, replace(SMALL, seed=1, target_sharpness=9.0), channels=CHANNELS, checkpoint=path)


def test_a_checkpoint_of_other_data_is_refused_with_the_differences_named(tmp_path: Path) -> None:
    path = tmp_path / "c"
    fit(Videos(MIXED_LENGTHS), SMALL, channels=CHANNELS, checkpoint=path)
    with pytest.raises(SolaError, match=r"differ: data: values"):
        fit(Videos(MIXED_LENGTHS, seed=1), SMALL, channels=CHANNELS, checkpoint=path)
    with pytest.raises(SolaError, match=r"data: lengths .*, data: videos \(checkpoint 7, now 6\)"):
        fit(Videos(MIXED_LENGTHS[:-1]), SMALL, channels=CHANNELS, checkpoint=path)


def test_a_file_that_is_no_checkpoint_is_refused_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "c"
    path.write_bytes(b"not a checkpoint")
    with pytest.raises(SolaError, match="not a readable checkpoint"):
        fit(Videos(MIXED_LENGTHS), SMALL, channels=CHANNELS, checkpoint=path)
    assert path.read_bytes() == b"not a checkpoint"


def test_a_checkpoint_leaves_no_other_file(tmp_path: Path) -> None:
    fit(
        Videos(MIXED_LENGTHS),
        replace(SMALL, checkpoint_every_steps=1),
        channels=CHANNELS,
        checkpoint=tmp_path / "c",
    )
    assert [p.name for p in tmp_path.iterdir()] == ["c"]


@pytest.mark.parametrize("length", [1, 2, 5, 22])
def test_one_short_video_alone_can_be_fitted(length: int) -> None:
    result = fit(Videos((length,)), SMALL, channels=CHANNELS)
    assert result.finished and result.steps == 7
    assert all(np.isfinite([r.loss, r.gate, r.correction_ratio]).all() for r in result.history)
    assert result.history[-1].gate != 0, "the fit must move the gate"


def test_fitting_lowers_the_loss_on_slowly_changing_features() -> None:
    random = np.random.default_rng(0)
    source = Videos((60,) * 8)
    for sequence in source.sequences:
        sequence[:] = np.cumsum(random.normal(size=sequence.shape), axis=0)
    history = fit(source, replace(SMALL, steps=150, batch_size=8), channels=CHANNELS).history
    first, last = (np.mean([r.loss for r in part]) for part in (history[:20], history[-20:]))
    assert last < first - 0.02
    assert history[0].gate == 0 and history[0].correction_ratio == 0
    assert history[-1].correction_ratio > 0.01


def test_the_training_curve_numbers_its_epochs_and_keeps_every_nth_step() -> None:
    config = replace(SMALL, steps=9, log_every_steps=4)  # 7 videos in batches of 4: two steps an epoch
    history = fit(Videos(MIXED_LENGTHS), config, channels=CHANNELS).history
    assert [(r.step, r.epoch) for r in history] == [(1, 0), (4, 1), (8, 3), (9, 4)]


def test_the_budget_is_epochs_unless_steps_are_given() -> None:
    assert fit(Videos(MIXED_LENGTHS), replace(SMALL, steps=None, epochs=3), channels=CHANNELS).steps == 6


def test_nan_features_stop_the_fit_with_the_step_named() -> None:
    source = Videos((40,) * 4)
    source.sequences[2][:] = np.nan
    with pytest.raises(SolaError, match=r"nan at step 1; 1 of its 4 windows hold NaN"):
        fit(source, SMALL, channels=CHANNELS)


def test_features_of_other_channels_are_refused_with_the_video_named() -> None:
    with pytest.raises(SolaError, match=r"video number \d+ gave features of shape \[\d+, 10\].*12 channels"):
        fit(Videos((40, 40)), SMALL, channels=12)


def test_a_fit_without_a_predictor_and_in_bf16_works() -> None:
    config = replace(SMALL, predictor=False, precision="bf16")
    half = fit(Videos((40,) * 4), config, channels=CHANNELS).history
    full = fit(Videos((40,) * 4), replace(config, precision="fp32"), channels=CHANNELS).history
    assert [r.loss for r in half] == pytest.approx([r.loss for r in full], rel=2e-2)
    assert [r.loss for r in half] != [r.loss for r in full]


def test_ctrl_c_in_the_middle_of_a_step_waits_for_its_end() -> None:
    reached = False
    with pytest.raises(KeyboardInterrupt), interrupt_held_back():
        os.kill(os.getpid(), signal.SIGINT)
        reached = True
    assert reached
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.parametrize("which", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_that_the_program_handles_itself_waits_as_well(which: signal.Signals) -> None:
    class OwnError(BaseException):
        pass

    def own(number: int, _: object) -> None:
        raise OwnError(number)

    before = signal.signal(which, own)
    try:
        reached = False
        with pytest.raises(OwnError), interrupt_held_back():
            os.kill(os.getpid(), which)
            reached = True
        assert reached
        assert signal.getsignal(which) is own
    finally:
        signal.signal(which, before)


def test_a_second_ctrl_c_does_not_wait() -> None:
    with pytest.raises(KeyboardInterrupt), interrupt_held_back():
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        pytest.fail("the second Ctrl-C was held back")

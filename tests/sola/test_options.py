"""Options beyond the published method, feature statistics, and diagnostics of a fit."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from sola.config import SolaConfig
from sola.diagnostics import data_warnings, effective_rank, fit_warnings, spread
from sola.errors import SolaError
from sola.fit import StepRecord, fit
from sola.fit_state import new_fit_state
from sola.fit_step import batch_loss
from sola.input_target import input_aware_target
from sola.sampling import WindowBatch
from sola.similarity import similarity_loss, target_tsm
from sola.statistics import FeatureStatistics, feature_statistics

CHANNELS = 6
SMALL = SolaConfig(
    hidden=8, predictor_hidden=8, batch_size=3, steps=6, learning_rate=1e-2, log_every_steps=1, device="cpu"
)
EVERYTHING = replace(SMALL, normalize="center", input_weight=0.5, gate_learning_rate=0.1)


class Videos:
    """Positive random feature sequences in memory."""

    def __init__(self, lengths: tuple[int, ...] = (1, 5, 22, 40, 90)) -> None:
        random = np.random.default_rng(0)
        self.sequences = [1 + random.random((n, CHANNELS), dtype=np.float32) for n in lengths]

    def __len__(self) -> int:
        return len(self.sequences)

    def length(self, index: int) -> int:
        return len(self.sequences[index])

    def rows(self, index: int, start: int, stop: int) -> np.ndarray:
        assert 0 <= start < stop <= self.length(index)
        return self.sequences[index][start:stop]


def lengths(videos: Videos) -> np.ndarray:
    return np.array([len(sequence) for sequence in videos.sequences])


def batch(rows: torch.Tensor, length: int) -> WindowBatch:
    return WindowBatch(rows, torch.zeros(len(rows), dtype=torch.int64), torch.full((len(rows),), length))


def test_every_option_resumes_to_the_same_bits(tmp_path: Path) -> None:
    whole = fit(Videos(), EVERYTHING, channels=CHANNELS)
    fit(Videos(), EVERYTHING, channels=CHANNELS, checkpoint=tmp_path / "c", should_stop=lambda: True)
    resumed = fit(Videos(), EVERYTHING, channels=CHANNELS, checkpoint=tmp_path / "c")
    assert resumed.history == whole.history
    for (name, one), other in zip(whole.module.state_dict().items(), resumed.module.state_dict().values(), strict=True):
        assert torch.equal(one, other), name


@pytest.mark.parametrize("rate", [None, 0.25])
def test_the_gate_moves_by_its_own_learning_rate(rate: float | None) -> None:
    # The first update of AdamW is the learning rate times the sign of the gradient; decay of a zero is zero.
    config = replace(SMALL, gate_learning_rate=rate, steps=1)
    alpha = fit(Videos(), config, channels=CHANNELS).module.alpha.item()
    assert abs(alpha) == pytest.approx(config.learning_rate if rate is None else rate, rel=1e-3)


def test_features_are_compared_relative_to_the_mean_of_all_rows() -> None:
    videos = Videos((30, 10))
    everything = torch.from_numpy(np.concatenate(videos.sequences)).double()
    statistics = feature_statistics(videos, lengths(videos), "center")
    assert statistics is not None
    assert torch.allclose(statistics.apply(everything), everything - everything.mean(dim=0))
    assert feature_statistics(videos, lengths(videos), "none") is None


def test_the_loss_compares_features_relative_to_the_statistics() -> None:
    config = replace(SMALL, normalize="center", predictor=False)
    origin = torch.arange(6.0)
    fit_state = new_fit_state(CHANNELS, config, statistics=FeatureStatistics(origin))
    rows = torch.randn(2, 19, CHANNELS, generator=torch.Generator().manual_seed(0))
    loss, _ = batch_loss(fit_state, batch(rows, 23))
    compared = rows[:, 2:17:2] - origin  # the module starts as the identity
    assert loss.item() == pytest.approx(similarity_loss(compared, compared, target_tsm(8, 16.0)).item(), abs=1e-6)


def test_centring_makes_unrelated_positive_features_unrelated() -> None:
    first = {
        comparison: fit(Videos((60,) * 6), replace(SMALL, normalize=comparison), channels=CHANNELS).history[0]
        for comparison in ("none", "center")
    }
    assert first["none"].spread < 0.1
    assert first["center"].spread > 0.9


# The input-aware target


def at_angles(*degrees: float) -> torch.Tensor:
    angle = torch.deg2rad(torch.tensor(degrees, dtype=torch.float64))
    lengths = torch.arange(1, len(degrees) + 1)  # must not matter
    return (lengths * torch.stack([angle.cos(), angle.sin()])).T[None]


@pytest.mark.parametrize("contrast", [1.0, 2.0])
@pytest.mark.parametrize("weight", [0.0, 0.4, 1.0])
def test_a_target_that_listens_to_the_input_is_the_hand_worked_one(weight: float, contrast: float) -> None:
    # Before the first gap 0°, after it the middle of 60° and 150°; then the middle of 0° and 60°, and 150°.
    first, second = (1 - np.cos(np.deg2rad(105))) ** contrast, (1 - np.cos(np.deg2rad(120))) ** contrast
    mean = (first + second) / 2
    ways = [(1 - weight) + weight * change / mean for change in (first, second)]
    expected = [1.0] + [1 / (1 + np.exp(-16 / way**2)) for way in (ways[0], sum(ways))]
    target = input_aware_target(at_angles(0, 60, 150), 16.0, weight=weight, contrast=contrast)[0]
    assert target[0].tolist() == pytest.approx(expected, abs=1e-12)
    assert torch.equal(target, target.T)


def test_without_weight_the_target_is_that_of_time_alone() -> None:
    x = torch.randn(2, 8, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    target = input_aware_target(x, 16.0, weight=0.0, contrast=2.0)
    assert torch.allclose(target, target_tsm(8, 16.0).expand(2, 8, 8), atol=1e-12)


def test_the_target_is_lower_across_a_change_than_inside_a_segment() -> None:
    generator = torch.Generator().manual_seed(0)
    segments = torch.randn(2, 1, 16, generator=generator).expand(2, 4, 16).reshape(1, 8, 16)
    x = segments + 0.3 * torch.randn(1, 8, 16, generator=generator)
    target = input_aware_target(x, 16.0, weight=1.0, contrast=2.0)[0]
    assert target[0, 2] > 0.95 and target[5, 7] > 0.95
    assert target[3, 5] < target_tsm(8, 16.0)[3, 5] - 0.1


def test_what_lies_outside_the_video_does_not_move_the_target() -> None:
    x = torch.randn(1, 5, 6, generator=torch.Generator().manual_seed(0))
    valid = torch.tensor([[True, True, True, False, False]])
    other = x.clone()
    other[:, 3:] = -x[:, :2]
    alone = input_aware_target(x[:, :3], 16.0, weight=1.0, contrast=2.0)
    for each in (x, other):
        target = input_aware_target(each, 16.0, weight=1.0, contrast=2.0, valid=valid)[:, :3, :3]
        assert torch.allclose(target, alone, atol=1e-6)


# Diagnostics


def test_spread_and_rank_of_hand_worked_vectors() -> None:
    same = torch.tensor([[[0.6, 0.8]] * 3])
    right_angles = torch.eye(3)[None]
    assert spread(same).item() == pytest.approx(0, abs=1e-6)
    assert spread(torch.tensor([[[1.0, 0.0], [-1.0, 0.0]]])).item() == pytest.approx(1)
    assert effective_rank(same).item() == pytest.approx(1, abs=1e-4)
    assert effective_rank(right_angles).item() == pytest.approx(3, abs=1e-5)
    # Two equal and one at a right angle: the spectrum is 2/3 and 1/3.
    mixed = torch.tensor([[[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]])
    assert effective_rank(mixed).item() == pytest.approx(3 / 2 ** (2 / 3), abs=1e-5)


def test_spread_and_rank_leave_out_what_is_not_valid() -> None:
    z = torch.tensor([[[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]])
    valid = torch.tensor([[True, True, False]])
    assert spread(z, valid).item() == pytest.approx(0, abs=1e-6)
    assert effective_rank(z, valid).item() == pytest.approx(1, abs=1e-4)


def record(step: int, *, loss: float = 0.35, gate: float = 0.1, spread: float = 0.5, rank: float = 3.0) -> StepRecord:
    return StepRecord(step, 0, loss, gate, 0.1, spread, rank, constant_loss=0.385, least_loss=0.285)


def test_a_healthy_fit_is_not_warned_about() -> None:
    assert fit_warnings([], SMALL) == []
    assert fit_warnings([record(1, gate=0.0), record(900)], SMALL) == []
    assert fit_warnings([record(1, gate=0.0), record(20, gate=1e-5)], SMALL) == [], "too early to call it stuck"


@pytest.mark.parametrize(
    ("last", "said"),
    [
        (record(900, spread=0.01), "step 900.*collapsed.*0.500 to 0.010.*learning_rate"),
        (record(900, rank=1.05), "alike.*3.00 to 1.05 of 8.*lower k"),
        (record(900, gate=1e-5), "after 900 steps the gate is 1.0e-05.*gate_learning_rate"),
        (record(900, loss=0.384), r"step 900 the loss is 0.3840.*0.3850.*0.2850.*center, raise learning_rate.*steps"),
        (record(900, loss=0.384, gate=1e-5), "the loss is 0.3840.*gate is 1.0e-05.*gate_learning_rate"),
        (record(900, loss=0.385, spread=0.01, rank=1.01), "collapsed"),
    ],
)
def test_collapse_and_a_stuck_gate_are_noticed_with_a_suggestion(last: StepRecord, said: str) -> None:
    warnings = fit_warnings([record(1, gate=0.0), last], SolaConfig())
    assert len(warnings) == 1
    assert re.search(said, warnings[0])


@pytest.mark.parametrize("last", [record(900, spread=-1e-9, rank=1.0), record(900, spread=0.3)])
def test_features_that_do_not_vary_are_named_and_no_fall_of_nothing(last: StepRecord) -> None:
    for first, which in ((record(1, spread=0.0, rank=1.0), "all features"), (record(1, rank=1.0), "of a window")):
        (warning,) = fit_warnings([first, last], SolaConfig())
        assert which in warning and "0.000" not in warning and "check the videos" in warning


def test_constant_features_are_told_as_what_they_are() -> None:
    videos, warnings = Videos((60,) * 8), []
    for sequence in videos.sequences:
        sequence[:] = 1.0
    fit(videos, replace(SMALL, steps=20, batch_size=8), channels=CHANNELS, on_warning=warnings.append)
    assert len(warnings) == 1 and "all features point in one direction" in warnings[0]


def test_a_last_remedy_stands_alone_and_a_spread_is_never_negative() -> None:
    config = SolaConfig(normalize="center", learning_rate=1e-3)
    (warning,) = fit_warnings([record(1), record(900, loss=0.384, gate=1.0)], config)
    assert warning.endswith("about time; give more steps")
    (warning,) = fit_warnings([record(1), record(900, spread=-1e-9)], SolaConfig())
    assert "from 0.500 to 0.000" in warning


def test_a_plateau_is_seen_through_the_noise_of_single_batches() -> None:
    on_it = [record(step, loss=0.384 + 0.02 * (-1) ** step) for step in range(1, 101)]
    below = [record(step, loss=0.37 + 0.02 * (-1) ** step) for step in range(1, 101)]
    assert len(fit_warnings(on_it, SMALL)) == 1
    assert fit_warnings(below, SMALL) == []


@pytest.mark.parametrize(("kind", "said"), [("noise", 1), ("drift", 0)])
def test_a_fit_on_features_without_time_stays_on_the_plateau_and_says_so(kind: str, said: int) -> None:
    videos, random = Videos((60,) * 8), np.random.default_rng(0)
    for sequence in videos.sequences:
        noise = random.normal(size=sequence.shape)
        sequence[:] = np.cumsum(noise, axis=0) if kind == "drift" else noise
    warnings: list[str] = []
    config = replace(SMALL, steps=200, batch_size=8)
    fit(videos, config, channels=CHANNELS, on_warning=warnings.append)
    assert len(warnings) == said, warnings


def test_a_fit_that_was_cut_off_at_its_very_end_is_judged_all_the_same(tmp_path: Path) -> None:
    first: list[str] = []
    again: list[str] = []
    for told in (first, again):
        fit(Videos(), SMALL, channels=CHANNELS, checkpoint=tmp_path / "c", on_warning=told.append)
    assert len(first) == 1 and again == first


def test_a_long_fit_is_judged_half_way_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sola.fit.fit_warnings", lambda history, config: [f"seen {history[-1].step}"])
    for long_steps, expected in ((7, ["seen 6"]), (6, ["seen 3", "seen 6"])):
        monkeypatch.setattr("sola.fit.LONG_STEPS", long_steps)
        warnings: list[str] = []
        fit(Videos(), SMALL, channels=CHANNELS, on_warning=warnings.append)
        assert warnings == expected


def test_few_and_short_videos_are_told_before_training() -> None:
    config = replace(SMALL, batch_size=256)
    assert data_warnings(np.full(500, 90), config) == []
    (few,) = data_warnings(np.full(12, 90), config)
    assert "12 videos" in few and "raise windows_per_video, or add videos" in few
    (short,) = data_warnings(np.array([5] * 300 + [90] * 200), config)
    assert "300 of 500 videos are shorter" in short


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"input_weight": 1.5}, "input_weight"),
        ({"input_contrast": 0.0}, "input_contrast"),
        ({"normalize": "norm"}, "none, center, got 'norm'"),
        ({"gate_learning_rate": 0.0}, "gate_learning_rate"),
    ],
)
def test_an_option_out_of_range_is_refused_by_name(options: dict, named: str) -> None:
    with pytest.raises(SolaError, match=named):
        SolaConfig(**options)

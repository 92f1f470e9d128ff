"""The gauge of a fit: losses of the features without the predictor, and what the correction is made of."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from sola.config import SolaConfig
from sola.correction import effective_dimensions, linear_filter_r2, measure_correction
from sola.fit import fit
from sola.fit_state import new_fit_state
from sola.gauge import WINDOWS, measure, measure_losses
from sola.gauge_text import before_line, gauge_lines, verdict
from sola.module import SolaModule, initial_networks
from sola.sampling import lengths_of


class Arrays:
    """Feature sequences in memory."""

    def __init__(self, sequences: list[np.ndarray]) -> None:
        self.sequences = sequences

    def __len__(self) -> int:
        return len(self.sequences)

    def length(self, index: int) -> int:
        return len(self.sequences[index])

    def rows(self, index: int, start: int, stop: int) -> np.ndarray:
        return self.sequences[index][start:stop]


CONFIG = SolaConfig(hidden=8, predictor_hidden=8, steps=6, batch_size=4, device="cpu", learning_rate=1e-2)


def walks(videos: int, *, length: int = 60, channels: int = 6, seed: int = 0) -> Arrays:
    """Videos that change slowly."""
    random = np.random.default_rng(seed)
    steps = random.normal(size=(videos, length, channels))
    return Arrays([(3 + 0.3 * np.cumsum(video, axis=0)).astype(np.float32) for video in steps])


def loss_by_hand(rows: np.ndarray, config: SolaConfig) -> float:
    """The mean cross-entropy of a window's cosines against the target, pair by pair."""
    total = 0.0
    chosen = rows[list(config.positions)].astype(np.float64)
    for i, a in enumerate(chosen):
        for j, b in enumerate(chosen):
            said = min(max((1 + a @ b / np.linalg.norm(a) / np.linalg.norm(b)) / 2, 1e-9), 1 - 1e-7)
            wanted = 1.0 if i == j else 1 / (1 + math.exp(-config.target_sharpness / (i - j) ** 2))
            total -= wanted * math.log(said) + (1 - wanted) * math.log(1 - said)
    return total / len(chosen) ** 2


def test_the_loss_of_the_features_is_that_of_their_own_cosines() -> None:
    # Videos of just a window: whatever is drawn, it is this one.
    rows = np.random.default_rng(1).normal(size=(CONFIG.window_snippets, 5)).astype(np.float32)
    source = Arrays([rows])
    state = new_fit_state(5, CONFIG)
    losses = measure_losses(source, lengths_of(source), state)
    assert losses.before == pytest.approx(loss_by_hand(rows, CONFIG), abs=1e-5)
    assert losses.features == losses.before  # an unfitted module is the identity
    assert losses.predictor != losses.before
    with torch.no_grad():
        state.module.alpha.fill_(0.8)
        enhanced = state.module(torch.from_numpy(rows)[None])[0].numpy()
    moved = measure_losses(source, lengths_of(source), state)
    assert moved.before == losses.before
    assert moved.features == pytest.approx(loss_by_hand(enhanced, CONFIG), abs=1e-5)
    assert moved.features != pytest.approx(losses.features, abs=1e-3)


def test_without_a_predictor_the_loss_of_the_fit_is_that_of_the_features() -> None:
    source = walks(5)
    gauge = fit(source, replace(CONFIG, predictor=False), channels=6).gauge
    assert gauge is not None
    assert gauge.losses.predictor == gauge.losses.features != gauge.losses.before
    assert "predictor" not in " ".join([*gauge_lines(gauge.as_json()), verdict(gauge.as_json())])


def test_a_resumed_fit_has_the_gauge_of_an_uninterrupted_one(tmp_path: Path) -> None:
    source, starts = walks(6), []
    whole = fit(source, CONFIG, channels=6, on_start=starts.append)
    stopped = fit(
        source, CONFIG, channels=6, checkpoint=tmp_path / "c", should_stop=lambda: True, on_start=starts.append
    )
    assert stopped.gauge is None
    resumed = fit(source, CONFIG, channels=6, checkpoint=tmp_path / "c", on_start=starts.append)
    assert resumed.gauge == whole.gauge
    assert len(starts) == 2 and starts[0] == starts[1]
    assert whole.gauge is not None and starts[0].before == whole.gauge.losses.before
    again = fit(source, CONFIG, channels=6, checkpoint=tmp_path / "c")
    assert again.gauge == whole.gauge and again.steps == CONFIG.steps


@pytest.mark.parametrize(
    "options", [{"input_weight": 1.0, "normalize": "center"}, {"padding": "zeros"}, {"precision": "bf16"}]
)
def test_every_kind_of_fit_has_a_gauge_that_changes_no_step(options: dict) -> None:
    source = walks(4, length=70)
    config = replace(CONFIG, **options)
    result = fit(source, config, channels=6)
    assert result.gauge is not None
    values = result.gauge.as_json()
    assert values["loss_least"] < values["loss_constant"]
    assert all(value is not None and math.isfinite(value) for value in values.values())


def test_videos_shorter_than_the_receptive_field_have_losses_but_no_correction() -> None:
    config = replace(CONFIG, kernel_sizes=(9,), dilations=(2,))
    source = walks(3, length=12)
    gauge = measure(source, lengths_of(source), new_fit_state(6, config))
    assert gauge.correction is None
    assert len(gauge_lines(gauge.as_json())) == 1


def test_the_sample_of_many_videos_is_bounded() -> None:
    asked = []

    class Many(Arrays):
        def rows(self, index: int, start: int, stop: int) -> np.ndarray:
            asked.append((index, stop - start))
            return super().rows(index, start, stop)

    source = Many([np.random.default_rng(k).normal(size=(80, 2)).astype(np.float32) for k in range(700)])
    measure(source, lengths_of(source), new_fit_state(2, CONFIG))
    assert len(asked) == WINDOWS + 256
    assert sum(rows for _, rows in asked) < 30 * WINDOWS + 256 * (32 + 4)


# --- the correction ------------------------------------------------------------------------------------------------


def module_of(channels: int, seed: int = 0) -> SolaModule:
    module, _ = initial_networks(channels, replace(CONFIG, kernel_sizes=(3,), dilations=(1,), seed=seed))
    with torch.no_grad():
        module.alpha.fill_(0.5)
    return module


def test_a_linear_module_is_explained_by_a_linear_filter_and_a_constant_one_is_all_constant() -> None:
    source = walks(12)
    found = measure_correction(source, lengths_of(source), module_of(6), seed=0)
    assert found is not None and found.linear_r2 is not None and found.linear_r2 > 0.999
    constant = module_of(6)
    with torch.no_grad():
        constant.convolutions[0].weight.zero_()
    found = measure_correction(source, lengths_of(source), constant, seed=0)
    assert found is not None and found.constant_share == pytest.approx(1) and found.linear_r2 is None


def test_ratio_and_constant_share_of_a_hand_worked_correction() -> None:
    # One tap, C = 1: c = tanh(a) * (w x + b). With x in {1, -1} half each, mean c = tanh(a) b.
    module = SolaModule(1, replace(CONFIG, kernel_sizes=(1,), dilations=(1,)))
    with torch.no_grad():
        module.alpha.fill_(10.0)  # tanh = 1
        module.convolutions[0].weight.fill_(3.0)
        module.convolutions[0].bias.fill_(4.0)
    source = Arrays([np.array([[1.0], [-1.0]] * 20, dtype=np.float32)])
    found = measure_correction(source, lengths_of(source), module, seed=0)
    assert found is not None
    assert found.correction_ratio == pytest.approx(5, rel=1e-5)  # sqrt(3² + 4²) / 1
    assert found.constant_share == pytest.approx(16 / 25, rel=1e-5)
    assert found.linear_r2 is None  # one video


def test_what_is_not_linear_is_not_explained_on_other_videos() -> None:
    random = np.random.default_rng(0)
    inputs = [torch.from_numpy(random.normal(size=(50, 3))).float() for _ in range(12)]
    halves = [x[1:-1].abs() - x[1:-1].abs().mean() for x in inputs]  # even: no linear part
    found = linear_filter_r2(inputs, halves, 1, random)
    assert found is not None and -0.2 < found < 0.1
    mixed = [x[1:-1] + math.sqrt(1 / (1 - 2 / math.pi)) * h for x, h in zip(inputs, halves, strict=True)]
    found = linear_filter_r2(inputs, mixed, 1, random)
    assert found == pytest.approx(0.5, abs=0.1)  # both parts have variance 1


def test_more_channels_than_the_filter_takes_are_projected() -> None:
    random = np.random.default_rng(0)
    low = [random.normal(size=(60, 4)) for _ in range(8)]
    spread = random.normal(size=(4, 400))
    inputs = [torch.from_numpy(x @ spread).float() for x in low]
    found = linear_filter_r2(inputs, [x[1:-1] + 2 * x[2:] for x in inputs], 1, random)
    assert found == pytest.approx(1, abs=1e-3)


def test_effective_dimensions_of_hand_worked_spectra() -> None:
    random = np.random.default_rng(0)
    directions, _ = np.linalg.qr(random.normal(size=(40, 3)))
    directions -= directions.mean(axis=0)
    directions, _ = np.linalg.qr(directions)
    assert effective_dimensions(torch.from_numpy(directions)) == pytest.approx(3, rel=1e-6)
    # Variances 1/2, 1/4, 1/4: entropy 1.5 ln 2.
    shares = directions * np.sqrt([0.5, 0.25, 0.25]) + 7.0
    assert effective_dimensions(torch.from_numpy(shares)) == pytest.approx(2**1.5, rel=1e-6)
    wide = torch.from_numpy(np.pad(shares, ((0, 0), (0, 2000))))
    assert effective_dimensions(wide) == pytest.approx(2**1.5, rel=1e-6)


# --- words ---------------------------------------------------------------------------------------------------------

GAUGE = {
    "gain_before": 0.08, "gain_features": 0.29, "gain_predictor": 0.41, "correction_ratio": 0.72,
    "constant_share": 0.8, "linear_r2": 0.9, "rank_before": 24.0, "rank_after": 29.0,
}  # fmt: skip


def test_the_verdict_says_what_the_features_won_and_what_the_predictor_keeps() -> None:
    assert verdict(GAUGE) == (
        "The features met 8 % of the target before the fit, and the fit added 21 %; the predictor, which is dropped, "
        "holds another 12 %; what the module adds is little more than a constant and a linear filter."
    )
    known = {**GAUGE, "gain_before": 0.7, "gain_features": 0.79, "gain_predictor": 0.78, "linear_r2": 0.2}
    assert verdict(known) == (
        "The features already met 70 % of the target before the fit, and the fit added 9 %; what the module adds is "
        "little more than a constant."
    )
    collapsed = {**known, "gain_features": 0.6, "constant_share": 0.3, "linear_r2": None, "rank_after": 5.9}
    assert verdict(collapsed) == (
        "The features already met 70 % of the target before the fit, and the fit took 10 % away; the predictor, which "
        "is dropped, holds another 18 %; the features won nothing that a head could use: skip SoLa here; the features "
        "collapsed, from 24 effective directions to 6."
    )
    far = {**collapsed, "gain_before": -2.06, "gain_features": -0.9, "gain_predictor": 0.19, "rank_after": 20.0}
    assert verdict(far) == (
        "The features met none of the target before the fit, and meet none after it; all that the fit gained is in the "
        "predictor, which is dropped; the features won nothing that a head could use: skip SoLa here."
    )
    assert verdict({**far, "gain_features": 0.2}).startswith(
        "The features met none of the target before the fit, and the fit added 20 %."
    )
    assert "less than 1 %" in verdict({**GAUGE, "correction_ratio": 0.004})


def test_lines_hold_the_measures() -> None:
    assert gauge_lines(GAUGE) == [
        "target met: 8 % by the features before, 29 % after, 41 % through the predictor, which is dropped now",
        "correction: 0.72 of the input's length; 80 % of its energy is one constant vector; a linear filter explains "
        "90 % of its variance on other videos; effective rank 24.0 -> 29.0",
    ]
    assert before_line(0.08, 0.6706, 0.56, 0.6612).startswith("before the fit, the features themselves meet 8 %")
    assert before_line(-0.83, 0.3854, 0.2777, 0.4742).startswith("before the fit, the features themselves meet none of")


def test_a_target_that_compares_nothing_has_no_gain() -> None:
    source = walks(3, length=2)  # shorter than the stride of the positions
    gauge = fit(source, CONFIG, channels=6).gauge
    assert gauge is not None and gauge.as_json()["gain_before"] is None
    assert "nothing to learn" in verdict(gauge.as_json())

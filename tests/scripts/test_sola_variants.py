"""The variants of SoLa that only experiments have."""

import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from sola.config import SolaConfig
from sola.enhance import enhance_array
from sola.fit import fit
from sola.fit_state import new_fit_state
from sola.module import initial_networks
from tests import ROOT
from tests.sola.test_options import CHANNELS, SMALL, Videos, lengths

sys.path.insert(0, str(ROOT / "scripts" / "experiments"))
from sola_variants import Variant, at_scale, fit_variant, set_gate, variant_statistics

CENTERED = replace(SMALL, normalize="center")


@pytest.mark.parametrize("config", [SMALL, CENTERED])
def test_without_a_variant_the_fit_is_the_products(config: SolaConfig) -> None:
    expected = fit(Videos(), config, channels=CHANNELS)
    module, measures = fit_variant(Videos(), config, Variant(), channels=CHANNELS)
    assert [m.loss for m in measures] == [record.loss for record in expected.history]
    for (name, one), other in zip(module.state_dict().items(), expected.module.state_dict().values(), strict=True):
        assert torch.equal(one, other), name


def test_a_scale_multiplies_the_stride_and_keeps_the_margins_and_the_target_in_time() -> None:
    one = new_fit_state(CHANNELS, SMALL)
    two = at_scale(one, 2)
    assert two.config.positions == tuple(range(4, 33, 4))
    assert two.config.window_snippets - two.config.positions[-1] == 23 - 18
    assert torch.allclose(two.target[0, :4], one.target[0, ::2]), "two of the small strides are one of the large"
    assert torch.equal(at_scale(one, 1).target, one.target)


def test_scales_take_turns() -> None:
    _, both = fit_variant(Videos(), SMALL, Variant(scales=(1, 2)), channels=CHANNELS)
    _, alone = fit_variant(Videos(), SMALL, Variant(), channels=CHANNELS)
    assert both[0] == alone[0] and both[1].loss != alone[1].loss


@pytest.mark.parametrize(("gate", "opened"), [("tanh", np.tanh(0.8)), ("linear", 0.8), ("open", 1.0)])
def test_every_gate_has_its_formula_starts_as_the_identity_and_learns(gate: str, opened: float) -> None:
    module, _ = initial_networks(CHANNELS, SMALL)
    set_gate(module, gate)
    x = Videos().sequences[3]
    assert np.array_equal(enhance_array(module, x), x)
    with torch.no_grad():
        module.alpha.fill_(0.8)
    assert module.gate().item() == pytest.approx(opened)
    fitted, _ = fit_variant(Videos(), SMALL, Variant(gate=gate), channels=CHANNELS)
    assert np.abs(enhance_array(fitted, x) - x).max() > 1e-4


def test_standardized_and_whitened_features_have_the_spread_of_the_formula() -> None:
    random = np.random.default_rng(0)
    mixing = random.normal(size=(CHANNELS, CHANNELS))
    videos = Videos((3000, 10))
    for sequence in videos.sequences:
        sequence[:] = 5 + random.normal(size=sequence.shape) @ mixing
    everything = torch.from_numpy(np.concatenate(videos.sequences)).double()
    results = {}
    for scaling in ("standardize", "whiten"):
        statistics = variant_statistics(videos, lengths(videos), Variant(scaling=scaling), SMALL)
        results[scaling] = statistics.apply(everything)
        assert results[scaling].mean(dim=0).abs().max() < 1e-9
    # Shrinkage leaves variances of 1 / (1 + 0.01 mean / own).
    own = everything.var(dim=0, correction=0)
    assert torch.allclose(results["standardize"].var(dim=0, correction=0), own / (own + 0.01 * own.mean()))
    values = torch.linalg.eigvalsh(torch.cov(everything.T))
    expected = values / (values + 0.01 * values.mean())
    found = torch.linalg.eigvalsh(torch.cov(results["whiten"].T))
    assert found.numpy() == pytest.approx(expected.sort().values.numpy(), abs=1e-3)


def test_a_constant_channel_does_not_break_the_statistics() -> None:
    videos = Videos((30, 20))
    for sequence in videos.sequences:
        sequence[:, 2] = 7
    for scaling in ("standardize", "whiten"):
        statistics = variant_statistics(videos, lengths(videos), Variant(scaling=scaling), SMALL)
        assert torch.isfinite(statistics.apply(torch.from_numpy(videos.sequences[0]).double())).all()

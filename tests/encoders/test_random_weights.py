"""Random weights, and the identity of weights."""

import pytest
import torch

from encoders.encoder import load_network
from encoders.random_weights import fill_random, state_sha256
from tests.encoders.test_weights import TSN


def test_random_weights_are_reproducible_and_leave_the_global_generator_alone():
    torch.manual_seed(7)
    expected_next = torch.rand(3)
    torch.manual_seed(7)
    network, _, first = load_network(TSN, weights="random", seed=4)
    assert torch.equal(torch.rand(3), expected_next)
    assert state_sha256(network.state_dict()) == first.sha256
    assert load_network(TSN, weights="random", seed=4)[2] == first
    assert load_network(TSN, weights="random", seed=5)[2].sha256 != first.sha256
    assert (first.random, first.seed, first.path, first.url) == (True, 4, None, None)


def test_random_weights_have_the_variance_of_he_initialization():
    layer = torch.nn.Conv2d(64, 128, 3)
    fill_random(layer, seed=0)
    assert layer.weight.var().item() == pytest.approx(2 / (64 * 9), rel=0.02)
    assert layer.bias.abs().max() == 0


def test_random_weights_keep_residual_branches_alive_and_features_in_range():
    network, _, _ = load_network(TSN, weights="random")
    assert all(m.weight.min() > 0 for m in network.modules() if isinstance(m, torch.nn.BatchNorm2d))
    frames = torch.randn(4, 3, 64, 64) * torch.tensor([0.5, 1.0, 1.0, 2.0])[:, None, None, None]
    with torch.no_grad():
        features = network(frames)
    assert 0.1 < features.std() < 100
    assert features.isfinite().all()
    centred = features - features.mean(dim=0)
    assert (torch.cdist(centred, centred) + torch.eye(4) * 1e3).min() > 0.01 * features.norm(dim=1).mean()


def test_state_sha256_depends_on_names_shapes_and_values():
    base = {"a": torch.zeros(2, 3), "b": torch.ones(2)}
    others = [
        {"a": torch.zeros(3, 2), "b": torch.ones(2)},
        {"a": torch.zeros(2, 3), "c": torch.ones(2)},
        {"a": torch.zeros(2, 3), "b": torch.ones(2) * 2},
    ]
    assert state_sha256(dict(reversed(base.items()))) == state_sha256(base)
    assert len({state_sha256(s) for s in [base, *others]}) == 4

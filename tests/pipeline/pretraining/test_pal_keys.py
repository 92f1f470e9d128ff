"""The key network follows in closed form, takes no gradient, and its queue is first in, first out."""

from __future__ import annotations

import copy

import pytest
import torch

from pipeline.pretraining.pal_keys import KeyQueue, PalHeads, follow, key_copy
from tests.pipeline.pretraining.pal_videos import Tiny

CPU = torch.device("cpu")


def test_after_n_steps_the_key_is_the_closed_form_moving_average():
    torch.manual_seed(0)
    network = Tiny().double()
    key, start = key_copy(network), copy.deepcopy(network)
    history = []
    for step in range(7):
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.add_(torch.randn_like(parameter))
            for buffer in network.buffers():
                buffer.fill_(step)
        history.append(copy.deepcopy(network))
        follow(key, network, momentum=0.9)
    for name, value in key.named_parameters():
        expected = 0.9**7 * start.get_parameter(name)
        expected = expected + sum(0.1 * 0.9 ** (6 - n) * seen.get_parameter(name) for n, seen in enumerate(history))
        assert torch.allclose(value, expected, atol=1e-12)
    assert all(bool((buffer == 6).all()) for buffer in key.buffers())


def test_the_key_takes_no_gradient_and_depends_on_its_own_window_only():
    network = Tiny().train()
    key = key_copy(network)
    assert network.training
    pixels = torch.rand(5, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    assert not key(pixels).requires_grad
    assert torch.equal(key(pixels)[:2], key(pixels[:2]))
    assert not torch.allclose(network(pixels)[:2], network(pixels[:2]))  # with the statistics of the batch
    follow(key, network, momentum=0.5)
    assert not any(parameter.requires_grad for parameter in key.parameters())


def test_the_queue_is_first_in_first_out_and_hides_the_sources_of_the_step():
    queue = KeyQueue(4, 2, CPU)
    assert not queue.usable(torch.tensor([1])).any()
    rows = torch.arange(14.0).view(7, 2)
    queue.push(rows[:3], torch.tensor([1, 2, 3]))
    assert queue.usable(torch.tensor([2, 9])).tolist() == [True, False, True, False]
    queue.push(rows[3:5], torch.tensor([4, 2]))
    assert sorted(zip(queue.sources.tolist(), queue.keys[:, 0].tolist(), strict=True)) == [
        (2, 2),
        (2, 8),
        (3, 4),
        (4, 6),
    ]
    assert queue.sources[queue.usable(torch.tensor([2]))].tolist() == [3, 4]
    queue.push(rows[:6], torch.arange(6))  # more than fit: the last four stay
    assert sorted(queue.sources.tolist()) == [2, 3, 4, 5]


def test_a_queue_continues_where_another_stopped():
    one, two = KeyQueue(3, 2, CPU), KeyQueue(3, 2, CPU)
    one.push(torch.ones(2, 2), torch.tensor([1, 2]))
    two.load_state(one.state())
    for queue in (one, two):
        queue.push(torch.full((2, 2), 5.0), torch.tensor([3, 4]))
    assert torch.equal(one.keys, two.keys)
    assert two.sources.tolist() == [4, 2, 3]


@pytest.mark.parametrize("locates", [False, True])
def test_heads_give_unit_vectors_and_places_in_the_video(locates):
    heads = PalHeads(32, 8, clips=6, locates=locates)
    bins = torch.randn(3, 4, 32)
    assert torch.allclose(heads.of_regions(bins).norm(dim=1), torch.ones(3))
    assert torch.allclose(heads.of_moments(bins).norm(dim=2), torch.ones(3, 4))
    assert (heads.locator is not None) == locates
    if locates:
        found = heads.located(torch.randn(3, 6, 32))
        assert found.shape == (3, 2)
        assert ((found > 0) & (found < 1)).all()

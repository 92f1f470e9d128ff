"""The two-pass gradient of an encoder: equal to the whole, unbiased when sampled, flat in memory."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor, nn

from pipeline.training.chunked_gradient import ChunkedEncoder, sampled_rows, two_pass_gradient
from sola.distributed import ALONE, Team

COUNT = 6


class Tiny(nn.Module):
    """A 3-D network with batch norm."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(nn.Conv3d(3, 4, 3, padding=1), nn.BatchNorm3d(4), nn.Tanh(), nn.Conv3d(4, 5, 3))
        self.layers[1].running_mean += torch.randn(4)
        self.double().eval()

    def forward(self, clips: Tensor) -> Tensor:
        return self.layers(clips).mean(dim=(2, 3, 4))


class Scene:
    """An encoder, a head whose loss mixes all snippets, and the snippets."""

    def __init__(self, count: int = COUNT) -> None:
        self.encoder = Tiny()
        self.head = nn.Conv1d(5, 1, 3, padding=1).double()
        generator = torch.Generator().manual_seed(1)
        self.snippets = torch.randn(count, 3, 4, 6, 6, generator=generator, dtype=torch.float64)
        self.count = count

    def read(self, rows: Sequence[int]) -> Tensor:
        return self.snippets[list(rows)]

    def chunked(self, chunk: int) -> ChunkedEncoder:
        return ChunkedEncoder(self.encoder, self.read, chunk)

    def losses(self, features: Tensor) -> dict[str, Tensor]:
        answer = self.head(features.T[None])
        return {"square": answer.square().sum(), "cosine": answer.cos().mean()}

    def gradient(self) -> Tensor:
        found = torch.cat([p.grad.flatten() for p in self.encoder.parameters()])
        self.encoder.zero_grad()
        return found

    def whole(self) -> Tensor:
        sum(self.losses(self.encoder(self.snippets)).values()).backward()
        return self.gradient()

    def two_pass(self, chunk: int, rows: Sequence[int] | None = None, team: Team = ALONE) -> Tensor:
        two_pass_gradient(self.chunked(chunk), self.count, self.losses, rows=rows, team=team)
        return self.gradient()


@pytest.mark.parametrize("chunk", [1, 2, 4, 6, 10])
def test_chunks_give_the_gradient_of_the_whole(chunk: int) -> None:
    scene = Scene()
    expected = scene.whole()
    expected_head = [p.grad.clone() for p in scene.head.parameters()]
    scene.head.zero_grad()
    assert (scene.two_pass(chunk) - expected).abs().max() < 1e-10
    assert expected.abs().max() > 1e-2
    for parameter, head in zip(scene.head.parameters(), expected_head, strict=True):
        torch.testing.assert_close(parameter.grad, head, rtol=0, atol=1e-12)


def test_batch_norm_in_training_mode_makes_chunks_differ() -> None:
    scene = Scene()
    scene.encoder.train()
    expected = scene.whole()
    assert (scene.two_pass(2) - expected).abs().max() > 1e-4


def test_the_mean_over_all_draws_of_snippets_is_the_exact_gradient() -> None:
    scene = Scene()
    expected = scene.whole()
    draws = [scene.two_pass(2, rows) for rows in itertools.combinations(range(COUNT), 2)]
    assert (torch.stack(draws).mean(dim=0) - expected).abs().max() < 1e-10
    assert (draws[0] - expected).abs().max() > 1e-3
    assert torch.equal(scene.two_pass(2, range(COUNT)), scene.two_pass(2))


def test_a_share_is_drawn_without_repeats_and_all_snippets_alike() -> None:
    import numpy as np

    rng = np.random.default_rng(0)
    draws = [sampled_rows(10, 0.3, rng) for _ in range(2000)]
    assert all(len(set(rows)) == 3 and rows == sorted(rows) for rows in draws)
    times = np.bincount(np.concatenate(draws), minlength=10)
    assert abs(times / 2000 - 0.3).max() < 0.05
    assert sampled_rows(5, 1.0, rng) == [0, 1, 2, 3, 4]
    assert len(sampled_rows(10, 0.01, rng)) == 1


def test_shards_of_the_snippets_sum_to_the_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene()
    expected = scene.whole()
    features = scene.chunked(2).features(range(COUNT))
    # Each rank has its own rows and zeros; the sum over ranks, which needs processes, is the whole.
    partial: list[Tensor] = []
    monkeypatch.setattr(Team, "total", lambda self, values: partial.append(values) or features.clone())
    parts = [scene.two_pass(2, team=Team(rank, 4)) for rank in range(4)]
    torch.testing.assert_close(sum(partial), features, rtol=0, atol=0)
    assert (sum(parts) - expected).abs().max() < 1e-10


def saved_bytes(run: Callable[[], object], frames: Tensor) -> int:
    """Return the most bytes kept for the backward pass at one time, but for the frames themselves."""
    kept: dict[int, int] = {}
    most = 0

    class Held:
        def __init__(self, value: Tensor) -> None:
            self.value = value

        def __del__(self) -> None:
            kept.pop(id(self), None)

    def pack(value: Tensor) -> Held:
        nonlocal most
        held = Held(value)
        if value.shape[1:] != frames.shape[1:]:
            kept[id(held)] = value.numel() * value.element_size()
        most = max(most, sum(kept.values()))
        return held

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda held: held.value):
        run()
    return most


def test_memory_for_the_backward_pass_does_not_grow_with_the_window_in_chunks() -> None:
    def at(count: int, chunk: int) -> int:
        scene = Scene(count)
        ones = torch.ones(count, 5, dtype=torch.float64)
        rows = list(range(count))
        return saved_bytes(lambda: scene.chunked(chunk).backward(rows, ones), scene.snippets)

    assert at(8, 4) == at(32, 4) > 0
    assert at(32, 32) > 3.5 * at(8, 8)


def test_frozen_layers_keep_their_weights_and_the_next_one_learns() -> None:
    scene = Scene()
    scene.encoder.layers[0].requires_grad_(False)
    before = copy.deepcopy(scene.encoder.state_dict())
    two_pass_gradient(scene.chunked(2), COUNT, scene.losses)
    assert scene.encoder.layers[0].weight.grad is None
    assert scene.encoder.layers[1].weight.grad.abs().max() > 0
    torch.optim.SGD([p for p in scene.encoder.parameters() if p.requires_grad], lr=1.0).step()
    for name, value in scene.encoder.state_dict().items():
        same = name.startswith("layers.0") or "running" in name or "tracked" in name
        assert torch.equal(value, before[name]) is same, name

"""All features on the device: the same windows and the same fit as read one by one, and nothing waits in a step."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pytest
import torch

import sola.fit
from sola.config import SolaConfig
from sola.errors import SolaError
from sola.fit import fit
from sola.fit_state import FitState, new_fit_state
from sola.fit_step import batch_loss, train_step
from sola.resident import ResidentFeatures, is_worthwhile, load_features
from sola.sampling import draw_epoch, lengths_of, read_windows
from tests.waits import META, Waits

CPU = torch.device("cpu")
SMALL = {"steps": 6, "batch_size": 4, "hidden": 8, "predictor_hidden": 8, "log_every_steps": 1, "device": "cpu"}


class Videos:
    """Random walks, most shorter than a window; one of a single snippet; half precision, as stores have it."""

    def __init__(self) -> None:
        random = np.random.default_rng(0)
        self.videos = [random.normal(size=(n, 6)).cumsum(axis=0).astype(np.float16) for n in (40, 5, 23, 1, 22, 60)]

    def __len__(self) -> int:
        return len(self.videos)

    def length(self, index: int) -> int:
        return len(self.videos[index])

    def rows(self, index: int, start: int, stop: int) -> np.ndarray:
        return self.videos[index][start:stop]


@pytest.mark.parametrize("padding", ["zeros", "replicate", "reflect"])
def test_windows_are_those_that_are_read_one_by_one(padding):
    source, config = Videos(), SolaConfig(padding=padding, windows_per_video=20, **SMALL)
    lengths = lengths_of(source)
    positions = new_fit_state(6, config).plan.positions[0].tolist()
    drawn = draw_epoch(lengths, config, 0)
    options = {"window_snippets": config.window_snippets, "padding": padding}
    want = read_windows(source, drawn, positions, channels=6, **options)
    found = load_features(source, lengths, 6, CPU).windows(drawn, positions, **options)
    assert torch.equal(found.rows, want.rows)
    assert torch.equal(found.first, want.first) and torch.equal(found.end, want.end)


def test_a_fit_with_all_features_on_the_device_has_the_same_bits(monkeypatch):
    want = fit(Videos(), SolaConfig(**SMALL), channels=6)
    monkeypatch.setattr(sola.fit, "is_worthwhile", lambda *args, **options: True)
    found = fit(Videos(), SolaConfig(**SMALL), channels=6)
    assert found.history == want.history
    for name, value in want.module.state_dict().items():
        assert torch.equal(found.module.state_dict()[name], value)


def test_features_go_there_if_they_fit_and_are_read_more_than_once(monkeypatch):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (1000 * 2048 * 4 * 2, 0))
    cuda = torch.device("cuda")
    assert is_worthwhile(np.array([400, 599]), 2048, cuda, rows_to_read=10_000)
    assert not is_worthwhile(np.array([400, 600]), 2048, cuda, rows_to_read=10_000)
    assert not is_worthwhile(np.array([400, 599]), 2048, cuda, rows_to_read=900)
    assert not is_worthwhile(np.array([400, 599]), 2048, CPU, rows_to_read=10_000)


def on_meta(config: SolaConfig, monkeypatch) -> FitState:
    """Return a state on the meta device, whose tensors have no values to wait for."""
    monkeypatch.setattr(torch, "autocast", lambda *args, **options: nullcontext())
    made = new_fit_state(6, config)
    module, predictor = made.module.to(META), made.predictor.to(META)
    optimizer = torch.optim.AdamW([*module.parameters(), *predictor.parameters()])
    there = {"plan": made.plan.to(META), "target": made.target.to(META), "optimizer": optimizer}
    return replace(made, module=module, predictor=predictor, **there)


@pytest.mark.parametrize("resident", [False, True])
@pytest.mark.parametrize("options", [{}, {"padding": "reflect"}, {"input_weight": 1.0}])
def test_a_step_waits_for_nothing_until_its_measures_are_fetched(resident, options, monkeypatch):
    source, config = Videos(), SolaConfig(**SMALL, **options)
    lengths, state = lengths_of(source), on_meta(config, monkeypatch)
    positions, drawn = state.plan.positions[0].tolist(), draw_epoch(lengths, config, 0)
    place = {"window_snippets": config.window_snippets, "padding": config.padding}
    rows = ResidentFeatures(torch.empty((int(lengths.sum()), 6), device=META), lengths)
    fetched: list[int] = []

    def loss_of(fit_state, batch):
        loss, _ = batch_loss(fit_state, batch)
        return loss, lambda: fetched.append(seen.calls.total()) or measures

    measures = batch_loss(new_fit_state(6, config), read_windows(source, drawn, positions, channels=6, **place))[1]()
    with Waits() as seen:
        batch = rows.windows(drawn, positions, **place) if resident else None
        batch = batch or read_windows(source, drawn, positions, channels=6, **place)
        assert train_step(state, batch, step=1, loss_of=loss_of) == measures
    assert fetched == [0] and seen.calls.total() == 0


@pytest.mark.parametrize("channels", [1, 5])
def test_a_video_of_other_channels_is_refused(channels):
    source = Videos()
    source.videos[1] = source.videos[1][:, :channels]
    with pytest.raises(SolaError, match=rf"video number 1 gave features of shape \[5, {channels}\] .* 6 channels"):
        load_features(source, lengths_of(source), 6, CPU)


@pytest.mark.filterwarnings("error")
def test_features_that_cannot_be_written_are_read_without_a_warning():
    source = Videos()
    for video in source.videos:
        video.flags.writeable = False
    assert len(load_features(source, lengths_of(source), 6, CPU).rows) == 151


@pytest.mark.parametrize("look", ["item", "mask", "copy"])
def test_a_wait_that_is_put_in_is_seen(look, monkeypatch):
    source, config = Videos(), SolaConfig(**SMALL)
    state, lengths = on_meta(config, monkeypatch), lengths_of(Videos())
    positions = state.plan.positions[0].tolist()
    batch = read_windows(
        source, draw_epoch(lengths, config, 0), positions, channels=6, window_snippets=23, padding="zeros"
    )

    def looking() -> None:
        loss, _ = batch_loss(state, batch)
        if look == "item":
            loss.item()
        if look == "mask":
            state.target[state.target > 0.5]
        if look == "copy":
            batch.rows.to(META)

    with Waits() as seen:
        if look == "copy":
            looking()
            assert seen.calls["blocking copy"] == 1
        else:
            with pytest.raises((RuntimeError, NotImplementedError)):
                looking()

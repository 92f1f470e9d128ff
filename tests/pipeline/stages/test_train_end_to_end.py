"""Encoder and head trained on raw videos: like `train` at rate 0, resumed exactly, used by `localize`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.config import LocalizeConfig
from pipeline.detection.model import load_model
from pipeline.errors import PipelineError
from pipeline.stages.localize import localize
from pipeline.stages.train import train
from pipeline.stages.train_end_to_end import train_end_to_end
from pipeline.training import end_to_end, train_head
from tests.small_encoder import HEAD, TINY, extracted, make_data, request


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return make_data(tmp_path_factory.mktemp("end_to_end"))


def losses_of_steps(monkeypatch: pytest.MonkeyPatch) -> list[list[float]]:
    """Note the losses of every step, of both kinds of training."""
    noted: list[list[float]] = []
    optimize, step = train_head._optimize, end_to_end.take_step

    def noting(run, losses, *rest):
        noted.append([value.item() for value in losses.values()])
        return optimize(run, losses, *rest)

    def noting_step(*arguments):
        report = step(*arguments)
        noted.append(list(report.losses.values()))
        return report

    monkeypatch.setattr(train_head, "_optimize", noting)
    monkeypatch.setattr(end_to_end, "take_step", noting_step)
    return noted


CASES = {
    "crops": TINY,
    "resized": replace(TINY, head=replace(HEAD, resize_snippets=12, max_seq_len=10)),
    "gtad": replace(TINY, head=replace(HEAD, kind="gtad", gtad_groups=2, gtad_max_duration_snippets=8), epochs=2),
    "agnostic": replace(TINY, class_agnostic=True, epochs=2),
}


@pytest.mark.parametrize("case", CASES)
def test_with_rate_0_and_no_crop_every_step_is_that_of_train_on_extracted_features(data, tmp_path, monkeypatch, case):
    noted = losses_of_steps(monkeypatch)
    train(extracted(data, tmp_path / "store"), data / "annotations.json", tmp_path / "frozen", CASES[case])
    expected = list(noted)
    noted.clear()
    still = request(
        data,
        tmp_path / "joint",
        CASES[case],
        encoder_learning_rate=0.0,
        random_crop=False,
        flip=False,
        chunk_snippets=3,
    )
    train_end_to_end(still)
    assert len(noted) == len(expected) == CASES[case].epochs * 3
    np.testing.assert_allclose(noted, expected, rtol=2e-4, atol=1e-6)
    assert np.ptp(np.sum(expected, axis=1)) > 0.01
    one, two = (load_model(tmp_path / name) for name in ("frozen", "joint"))
    assert one.training["best_epoch"] == two.training["best_epoch"]
    for name, value in one.head.state_dict().items():
        torch.testing.assert_close(two.head.state_dict()[name], value, rtol=1e-3, atol=1e-4)


def test_localize_uses_the_encoder_of_the_model_and_extract_takes_it_for_a_fresh_head(data, tmp_path):
    said: list[str] = []
    learning = replace(TINY, learning_rate=3e-3, ema_decay=0.0)
    summary = train_end_to_end(request(data, tmp_path / "model", learning, encoder_learning_rate=1e-2), say=said.append)
    weights = str(tmp_path / "model" / "encoder.safetensors")
    own = f"{data / 'own.py'}:small"
    model = load_model(tmp_path / "model")
    assert summary.best_map is not None and model.best_score == summary.best_score
    assert "small frames of 4 videos: 0.00 GB in" in said[0] and "after 5 steps: " in said[1]
    assert (tmp_path / "model" / "training.png").stat().st_size > 1000

    store = extracted(data, tmp_path / "store", weights)
    from_store = localize([store.path], model, LocalizeConfig(device="cpu")).detections
    from_videos = localize([data / "videos"], model, LocalizeConfig(device="cpu", encoder=own)).detections
    assert sum(map(len, from_store.values())) > 0
    assert from_videos == from_store
    assert np.abs(store.read("a").features - extracted(data, tmp_path / "old").read("a").features).max() > 0.1
    with pytest.raises(PipelineError, match=r"--encoder FILE\.py:NAME"):
        localize([data / "videos"], model, LocalizeConfig(device="cpu"))
    with pytest.raises(PipelineError, match=r"there the model.*|.*weights\.sha256"):
        localize([tmp_path / "old"], model, LocalizeConfig(device="cpu"))

    train(store, data / "annotations.json", tmp_path / "fresh", TINY)
    fresh = localize([store.path], load_model(tmp_path / "fresh"), LocalizeConfig(device="cpu")).detections
    assert fresh.keys() == from_store.keys()
    # A head alone in the same folder: the encoder of before does not stay.
    train(store, data / "annotations.json", tmp_path / "model", TINY)
    assert load_model(tmp_path / "model").encoder_weights is None


def test_frozen_stages_and_batch_norm_statistics_stay_and_the_rest_learns(data, tmp_path):
    train_end_to_end(request(data, tmp_path / "model", encoder_learning_rate=1e-2, frozen_stages=1))
    from safetensors.torch import load_file

    from encoders.own import own_entry

    before = own_entry(f"{data / 'own.py'}:small").build().state_dict()
    after = load_file(tmp_path / "model" / "encoder.safetensors")
    assert after.keys() == before.keys()
    assert {name for name, value in after.items() if not torch.equal(value, before[name])} == {
        "layer.weight", "layer.bias",
    }  # fmt: skip
    whole = train_end_to_end(request(data, tmp_path / "whole", encoder_learning_rate=1e-2))
    assert whole.best_epoch > 0
    after = load_file(tmp_path / "whole" / "encoder.safetensors")
    same = {name for name, value in after.items() if torch.equal(value, before[name])}
    assert same == {"stem.1.running_mean", "stem.1.running_var", "stem.1.num_batches_tracked"}

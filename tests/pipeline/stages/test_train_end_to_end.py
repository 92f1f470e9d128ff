"""Encoder and head trained on raw videos: like `train` at rate 0, resumed exactly, used by `localize`."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pipeline.config import LocalizeConfig
from pipeline.detection.model import load_model
from pipeline.errors import PipelineError
from pipeline.heads.config import HeadConfig, TrainConfig
from pipeline.stages.end_to_end_data import Request
from pipeline.stages.extract import extract
from pipeline.stages.localize import localize
from pipeline.stages.train import train
from pipeline.stages.train_end_to_end import train_end_to_end
from pipeline.training import end_to_end, train_head
from pipeline.training.end_to_end_config import EndToEndConfig
from tests import videos as make

OWN = '''
import torch
from encoders.spec import EncoderSpec


class Small(torch.nn.Module):
    """Two convolutions with batch norm; a stem and a layer."""

    def __init__(self):
        super().__init__()
        self.stem = torch.nn.Sequential(torch.nn.Conv3d(3, 6, 3, stride=(1, 4, 4), padding=1), torch.nn.BatchNorm3d(6))
        self.layer = torch.nn.Conv3d(6, 8, 3, stride=2, padding=1)
        for place, parameter in enumerate(self.parameters()):
            generator = torch.Generator().manual_seed(place)
            parameter.data = torch.randn(parameter.shape, generator=generator) / parameter[0].numel() ** 0.5
        self.stem[1].running_mean += 0.3

    def forward(self, clips):
        return self.layer(torch.relu(self.stem(clips))).relu().mean(dim=(2, 3, 4))


def small():
    spec = EncoderSpec(
        name="small", version=1, feature_dim=8, num_frames=4, window_frames=8, fps=10.0, short_side=36, crop_size=32,
        mean=(0.4, 0.4, 0.4), std=(0.3, 0.3, 0.3), layout="clip", source="a small network",
    )
    return spec, Small()
'''
HEAD = HeadConfig(embed_dim=8, levels=2, stem_blocks=1, tower_layers=1, max_seq_len=8, max_test_snippets=8)
TINY = TrainConfig(epochs=3, min_steps_per_epoch=3, batch_size=2, device="cpu", head=HEAD, validate_every_epochs=2)


def scene(index: int, height: int, width: int) -> np.ndarray:
    """Noise; brighter from frame 12 to 25 and from 40 on."""
    coarse = np.random.default_rng(index).integers(0, 120, (height // 8, width // 8, 3), dtype=np.uint8)
    bright = 100 if 12 <= index < 25 or index >= 40 else 0
    return np.kron(coarse, np.ones((8, 8, 1), np.uint8)) + np.uint8(bright)


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("end_to_end")
    (folder / "own.py").write_text(OWN)
    database = {}
    for name, frames, subset in (
        ("a", 50, "training"),
        ("b", 37, "training"),
        ("c", 45, "training"),
        ("d", 48, "validation"),
    ):
        make.constant(folder / "videos" / f"{name}.mp4", frames, 10, size=(48, 80), draw=scene)
        segments = [{"segment": [1.2, 2.5], "label": "bright"}]
        segments += [{"segment": [4.0, frames / 10], "label": "dim"}] if frames > 42 else []
        subset = "validation" if name == "d" else "training"
        database[name] = {"subset": subset, "duration": frames / 10, "annotations": segments}
    (folder / "annotations.json").write_text(json.dumps({"version": "1", "database": database}))
    return folder


def settings(data: Path, **changes: Any) -> EndToEndConfig:
    own = f"{data / 'own.py'}:small"
    return EndToEndConfig(encoder=own, weights="own", stride_frames=2.5, precision="fp32", **changes)


def request(data: Path, out: Path, config: TrainConfig = TINY, **changes: Any) -> Request:
    videos, annotations = [data / "videos"], data / "annotations.json"
    return Request(videos, annotations, out, config, settings(data, **changes), frames=data / "frames")


def extracted(data: Path, out: Path, weights: str = "own"):
    config = replace(settings(data).extraction(weights=weights, device="cpu"), workers=1)
    return extract([data / "videos"], out, config)[0]


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


class StopError(Exception):
    pass


@pytest.mark.parametrize("stop_at", [2, 3, 5])
def test_an_interrupted_training_ends_with_the_same_weights(data, tmp_path, monkeypatch, stop_at):
    learning = replace(TINY, head=replace(HEAD, dropout=0.3))
    changes = {"encoder_learning_rate": 1e-3, "gradient_share": 0.5}
    train_end_to_end(request(data, tmp_path / "whole", learning, **changes))

    cut = request(data, tmp_path / "cut", learning, **changes)
    steps, step = [], end_to_end.take_step

    def stopping(*arguments):
        report = step(*arguments)
        steps.append(report.done)
        if len(steps) == stop_at:
            raise KeyboardInterrupt
        return report

    monkeypatch.setattr(end_to_end, "take_step", stopping)
    with pytest.raises(KeyboardInterrupt):
        train_end_to_end(cut)
    assert (tmp_path / "cut" / ".train_checkpoint").is_file()
    torch.manual_seed(stop_at)  # the caller's generator has no part in it
    train_end_to_end(cut)
    assert steps == list(range(1, 10))
    for file in ("head.safetensors", "encoder.safetensors", "model.json"):
        assert (tmp_path / "cut" / file).read_bytes() == (tmp_path / "whole" / file).read_bytes(), file
    assert not (tmp_path / "cut" / ".train_checkpoint").exists()

    again = train_end_to_end(cut)
    assert again.finished_before and len(steps) == 9
    (tmp_path / "cut" / "encoder.safetensors").write_bytes(b"torn")
    train_end_to_end(cut)
    assert len(steps) == 18


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


def test_a_loss_that_is_not_finite_stops_with_its_step(data, tmp_path):
    with pytest.raises(PipelineError, match=r"became (nan|inf) at step [1-8]; lower .* encoder_learning_rate=1e\+30"):
        train_end_to_end(request(data, tmp_path / "model", encoder_learning_rate=1e30))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda r, d: replace(r, settings=replace(r.settings, frozen_stages=2)),
            "frozen_stages must be between",
        ),
        (lambda r, d: replace(r, config=replace(r.config, sola="unified")), "sola must be frozen with --end-to-end"),
        (lambda r, d: replace(r, inputs=[d / "nothing"]), "nothing"),
        (lambda r, d: replace(r, config=replace(r.config, train_subset="test")), "subset 'test'"),
        (lambda r, d: replace(r, settings=replace(r.settings, encoder="x3d_s", weights=str(d / "w.pth"))), "w.pth"),
        (lambda r, d: replace(r, settings=replace(r.settings, encoder="i3d_inception_flow", weights="random")), "RGB"),
    ],
)
def test_bad_input_is_one_line(data, tmp_path, change: Callable[..., Request], message: str):
    from pipeline.errors import SolaPipelineError

    torch.save({"weight": torch.ones(2)}, data / "w.pth")
    with pytest.raises(SolaPipelineError, match=message) as caught:
        train_end_to_end(change(request(data, tmp_path / "model"), data))
    assert "\n" not in str(caught.value)


def test_options_of_end_to_end_are_refused_without_it():
    from pipeline.commandline.end_to_end import refuse_without_end_to_end

    with pytest.raises(PipelineError, match="frozen_stages, frames has no effect"):
        refuse_without_end_to_end([Path("a")], EndToEndConfig(frozen_stages=1), Path("frames"))
    with pytest.raises(PipelineError, match="give one feature store, got 2"):
        refuse_without_end_to_end([Path("a"), Path("b")], EndToEndConfig(), None)
    assert refuse_without_end_to_end([Path("a")], EndToEndConfig(), None) == Path("a")
    for wrong in ({"gradient_share": 0.0}, {"chunk_snippets": 0}, {"encoder_learning_rate": -1.0}, {"size": 3}):
        with pytest.raises(PipelineError, match=f"{next(iter(wrong))} must be"):
            EndToEndConfig(**wrong)

"""Pretraining of any encoder that `extract` knows: of Hugging Face, of timm, and a network of one's own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from encoders.errors import EncoderError
from encoders.start import start_encoder
from pipeline.commandline.launch import bound_command
from pipeline.errors import PipelineError
from pipeline.extraction.config import ExtractConfig
from pipeline.pretraining.clips import Whole, clip_frames
from pipeline.pretraining.config import PretrainConfig
from pipeline.stages.extract import extract
from pipeline.stages.pretrain import pretrain, start_of
from sola.old_names import stored_settings
from tests import videos as make
from tests.encoders.tiny_models import tiny
from tests.pipeline.pretraining.test_pretrain import QUICK, bars
from tests.small_encoder import OWN

CONFIG = replace(QUICK, size=None, weights="own", epochs=1, frozen_stages=1, learning_rate=1e-2)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Clips of two classes, a network of one's own, and tiny models of Hugging Face."""
    there = tmp_path_factory.mktemp("any")
    for label in ("lying", "upright"):
        for group in range(3):
            path = there / "clips" / label / f"v_{label}_g{group:02}_c01.mp4"
            make.constant(path, 70, 30, size=(48, 64), draw=bars(label == "upright"))
    (there / "own.py").write_text(OWN)
    for kind in ("clip", "videomae"):
        tiny(kind).save(there / kind)
    return there


def config_of(folder: Path, name: str, **changes: object) -> PretrainConfig:
    return replace(CONFIG, encoder=name.format(folder), **changes)  # type: ignore[arg-type]


# What stays with the stem frozen, by the beginning of the weights' names, and the side of the pictures.
CASES = {
    "hf:{}/clip": (("model.vision_model.embeddings", "model.vision_model.pre_layrnorm"), 32, {}),
    "hf:{}/videomae": (("model.embeddings",), 32, {}),
    "timm:test_resnet": (("conv1", "bn1"), 64, {"weights": "random", "size": 64}),
    "{}/own.py:small": (("stem",), 32, {}),
}


@pytest.mark.parametrize("name", CASES)
def test_its_weights_carry_its_preprocessing_and_go_into_extraction(folder, tmp_path, name):
    frozen, side, changes = CASES[name]
    config = config_of(folder, name, **changes)
    before = {key: value.clone() for key, value in start_of(config).network.state_dict().items()}
    out = tmp_path / "weights.safetensors"
    pretrain(folder / "clips", out, config)
    after = load_file(out)
    assert after.keys() == before.keys()
    learned = {key for key, value in after.items() if not torch.equal(value, before[key])}
    others = {key for key in before if not key.startswith(frozen)}
    assert learned <= others and len(learned) > len(others) / 2  # a network may have parts that nothing reads

    extraction = ExtractConfig(
        encoder=config.encoder, weights=str(out), workers=1, device="cpu", precision="fp32", stride_frames=8
    )
    video = folder / "clips" / "lying" / "v_lying_g00_c01.mp4"
    store, _ = extract([video], tmp_path / "store", extraction)
    plain = start_encoder(config.encoder, pool=None, weights=str(out), seed=0, size=0, frozen_stages=0)
    assert plain.spec.crop_size == side and store.spec.encoder["crop_size"] == side
    assert all(torch.equal(value, after[key]) for key, value in plain.network.state_dict().items())
    rows, whole = store.read("v_lying_g00_c01").features, by_hand(plain, video)
    np.testing.assert_allclose(rows[0], whole, rtol=2e-3, atol=2e-4)


def by_hand(encoder, video: Path) -> np.ndarray:
    """Return the feature of a video's first window by the plain network, from the frames that pretraining sees."""
    spec = encoder.spec
    size = Whole.for_encoder(spec, (48, 64))
    frames = clip_frames(video, fps=spec.fps, size=size)
    middles = (np.arange(spec.num_frames) + 0.5) * spec.window_frames / spec.num_frames
    top, left, side = spec.crop_box(*frames.shape[1:3])
    pixels = torch.from_numpy(frames[middles.astype(int), top : top + side, left : left + side]).float() / 255
    pixels = (pixels - torch.tensor(spec.mean)) / torch.tensor(spec.std)
    with torch.no_grad():
        if spec.layout == "frames":
            return encoder.network(pixels.permute(0, 3, 1, 2)).mean(dim=0).numpy()
        return encoder.network(pixels.permute(3, 0, 1, 2)[None])[0].numpy()


def test_a_finished_training_is_done_again_when_the_weights_it_starts_from_are_others(folder, tmp_path):
    first, second = tmp_path / "first.safetensors", tmp_path / "second.safetensors"
    own = "{}/own.py:small"
    pretrain(folder / "clips", first, config_of(folder, own))
    again = config_of(folder, own, weights=str(first))
    assert not pretrain(folder / "clips", second, again).finished_before
    assert pretrain(folder / "clips", second, again).finished_before
    first.write_bytes(first.read_bytes())
    assert pretrain(folder / "clips", second, again).finished_before
    pretrain(folder / "clips", first, config_of(folder, own, seed=1))
    assert not pretrain(folder / "clips", second, again).finished_before
    assert start_of(again).spec == start_of(config_of(folder, own)).spec  # what it was trained on is told once


def test_pictures_have_the_size_of_the_weights_unless_the_encoder_is_a_listed_one(folder):
    assert (PretrainConfig().side, PretrainConfig(size=0).side) == (112, 0)
    assert config_of(folder, "hf:{}/clip").side == 0
    assert stored_settings(PretrainConfig(size=112))["network"] == "tsn_r18"  # files keep the old name
    published = start_of(PretrainConfig(encoder="r2plus1d_34")).spec
    assert (published.short_side, published.fixed_size) == (128, (128, 171))  # as TSP has them
    settings = bound_command(["pretrain", "v", "--out", "w.safetensors", "--network", "x3d_s"])[1].arguments["settings"]
    assert settings.encoder == "x3d_s"


def test_frames_are_stretched_if_the_encoder_wants_one_size(tmp_path):
    make.constant(tmp_path / "v.mp4", 3, 30, size=(48, 96), draw=lambda index, h, w: wedge(h, w))
    for fixed, expected in (((40, 40), 100), (None, 75)):
        spec = replace(start_of(QUICK).spec, short_side=40, fixed_size=fixed)
        size = Whole.for_encoder(spec, (48, 96))
        frames = clip_frames(tmp_path / "v.mp4", fps=30, size=size)
        assert frames.shape[1:3] == (fixed or (40, 80))
        # Brightness rises from left to right: column 20 is the middle of 40, and a quarter of 80.
        assert frames[0, 20, 20, 0] == pytest.approx(expected if fixed else expected / 1.5, abs=4)


def wedge(height: int, width: int) -> np.ndarray:
    line = np.linspace(0, 200, width).astype(np.uint8)
    return np.repeat(np.tile(line, (height, 1))[:, :, None], 3, axis=2)


@pytest.mark.parametrize(
    ("name", "changes", "words"),
    [
        ("hf:{}/clip", {"size": 64}, "hf:clip takes no pictures of 64 pixels: .*; leave out size, or give 32"),
        ("hf:{}/clip", {"frozen_stages": 9}, "frozen_stages must be between 0 and"),
        ("hf:{}/clip", {"weights": "kinetics"}, "weights must be own, random or a file"),
        ("hf:{}/nothing", {}, "nothing does not exist"),
        ("tsn_r18", {"pool": "cls"}, "pool is a choice of hf:"),
        ("timm:test_resnetty", {}, "timm has no model"),
        ("{}/own.py:smal", {}, "has no function 'smal'; did you mean small"),
        (
            "{}/wrong.py:wrong",
            {},
            r"small gave features of shape \[1, 8\], its spec says \[1, 9\]: correct feature_dim",
        ),
    ],
)
def test_an_encoder_that_cannot_be_trained_so_is_refused_in_one_line(folder, tmp_path, name, changes, words):
    wrong = OWN.replace("feature_dim=8", "feature_dim=9").replace("def small", "def wrong")
    (folder / "wrong.py").write_text(wrong)
    with pytest.raises((EncoderError, PipelineError), match=words) as caught:
        pretrain(folder / "clips", tmp_path / "w.safetensors", config_of(folder, name, **changes))
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())

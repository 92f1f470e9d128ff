"""Training an encoder on clips: its input, that it learns and resumes, and that its weights carry the spec."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from encoders.catalog import catalog_entry
from encoders.encoder import load_encoder
from encoders.errors import EncoderError
from encoders.trained import carried_spec, save_trained
from pipeline.errors import PipelineError, SolaPipelineError
from pipeline.extraction.config import ExtractConfig
from pipeline.pretraining.clips import find_clips
from pipeline.pretraining.config import PretrainConfig
from pipeline.pretraining.data import cache_clips, cells_of, held_out_windows, training_batches, window
from pipeline.stages.extract import extract
from pipeline.stages.pretrain import pretrain, remove_frames, start_of
from sola.distributed import ALONE
from tests import videos as make

QUICK = PretrainConfig(size=32, epochs=4, batch_size=4, precision="fp32", device="cpu", validation_share=0.4)


def bars(upright: bool):
    """Write a video of moving bars, upright or lying."""

    def draw(index: int, height: int, width: int) -> np.ndarray:
        line = np.arange(width if upright else height)
        wave = (((line + 2 * index) // 6) % 2 * 200 + 20).astype(np.uint8)
        plane = np.tile(wave, (height, 1)) if upright else np.tile(wave[:, None], (1, width))
        return np.repeat(plane[:, :, None], 3, axis=2)

    return draw


@pytest.fixture(scope="module")
def clips(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("clips")
    for label in ("lying", "upright"):
        for group in range(5):
            path = folder / label / f"v_{label}_g{group:02}_c01.mp4"
            make.constant(path, 40, 30, size=(48, 64), draw=bars(label == "upright"))
    return folder


def test_the_network_is_trained_on_the_frames_that_extraction_will_take(clips, tmp_path):
    spec = start_of(QUICK).spec
    assert (spec.crop_size, spec.short_side) == (32, 37)
    assert cells_of(spec) == (2, 8, 13)  # the middles of three parts of 16
    found = find_clips(clips, group_pattern=r"_(g\d+)_")
    cached, failed = cache_clips(found, ["lying", "upright"], spec, tmp_path, lambda _: None)
    assert failed == {}
    assert {clip.frames for clip in cached} == {40}
    frames = np.load(cached[0].file)
    assert frames.shape == (40, 37, 49, 3)
    np.testing.assert_array_equal(window(cached[0], spec, 20).numpy(), frames[[22, 28, 33]])
    np.testing.assert_array_equal(window(cached[0], spec, 30).numpy(), frames[[32, 38, 39]])  # the last is repeated
    test = held_out_windows(cached[0], spec, count=2)
    np.testing.assert_array_equal(test[1].numpy(), frames[[18 + cell for cell in (2, 8, 13)], 2:34, 8:40])


def test_an_epoch_shows_every_clip_once_and_is_the_same_again(clips, tmp_path):
    spec = start_of(QUICK).spec
    found = find_clips(clips, group_pattern=r"_(g\d+)_")
    cached, _ = cache_clips(found, ["lying", "upright"], spec, tmp_path, lambda _: None)

    def epoch(number: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
        batches = training_batches(cached, spec, config=QUICK, epoch=number, team=ALONE)
        return [(batch.pixels, batch.targets["place"]) for batch in batches]

    first, again, other = epoch(0), epoch(0), epoch(1)
    assert [tuple(pixels.shape) for pixels, _ in first] == [(4, 3, 32, 32, 3), (4, 3, 32, 32, 3), (2, 3, 32, 32, 3)]
    assert sorted(torch.cat([places for _, places in first]).tolist()) == [0] * 5 + [1] * 5
    for (one, _), (two, _) in zip(first, again, strict=True):
        assert torch.equal(one, two)
    assert not torch.equal(first[0][0], other[0][0])


def test_an_encoder_learns_to_tell_the_classes_of_held_out_groups_apart(clips, tmp_path):
    out = tmp_path / "weights.safetensors"
    summary = pretrain(clips, out, replace(QUICK, epochs=12))
    assert summary.samples == (6, 4)
    assert summary.outcome.measures == {"accuracy": 1.0}
    assert summary.outcome.details["per_class"] == {"lying": 1.0, "upright": 1.0}
    assert summary.history[-1]["loss"] < 0.8 * summary.history[0]["loss"]
    assert json.loads((tmp_path / "weights.json").read_text())["accuracy"] == 1.0
    assert not (tmp_path / "weights.checkpoint").exists()
    remove_frames(out)
    assert not (tmp_path / "weights.frames").exists()


def test_weights_go_straight_into_extraction_with_their_size(clips, tmp_path):
    out = tmp_path / "weights.safetensors"
    pretrain(clips, out, replace(QUICK, epochs=1))
    spec = carried_spec(out)
    assert spec == start_of(QUICK).spec
    config = ExtractConfig(encoder="tsn_r18", weights=str(out), workers=1, device="cpu", precision="fp32")
    store, _ = extract([clips / "lying" / "v_lying_g00_c01.mp4"], tmp_path / "store", config)
    rows = store.read("v_lying_g00_c01").features
    assert rows.shape == (3, 512)  # 40 frames, one row every 16
    assert store.spec.encoder["crop_size"] == 32
    # The same by hand: the plain network on the same pixels.
    found = [clip for clip in find_clips(clips, group_pattern=r"_(g\d+)_") if "lying_g00" in clip.path.name]
    [cached], _ = cache_clips(found, ["lying"], spec, tmp_path / "frames", lambda _: None)
    frames = window(cached, spec, 16)[:, 2:34, 8:40].float() / 255
    pixels = (frames - torch.tensor(spec.mean)) / torch.tensor(spec.std)
    network = catalog_entry("tsn_r18").build().eval()
    from safetensors.torch import load_file

    network.load_state_dict(load_file(out))
    with torch.no_grad():
        expected = network(pixels.permute(0, 3, 1, 2)).mean(dim=0)
    np.testing.assert_allclose(rows[1], expected.numpy(), rtol=1e-3, atol=1e-4)


def test_an_interrupted_training_ends_with_the_same_weights(clips, tmp_path):
    pretrain(clips, tmp_path / "whole.safetensors", QUICK)

    def interrupt(done: float, text: str) -> None:
        if text.startswith("epoch 2"):
            raise KeyboardInterrupt

    out = tmp_path / "parts.safetensors"
    with pytest.raises(KeyboardInterrupt):
        pretrain(clips, out, QUICK, report=interrupt)
    assert not out.exists()
    with pytest.raises(PipelineError, match="is of other clips or settings"):
        pretrain(clips, out, replace(QUICK, seed=1))
    pretrain(clips, out, QUICK)
    from safetensors.torch import load_file

    whole, parts = load_file(tmp_path / "whole.safetensors"), load_file(out)
    assert all(torch.equal(whole[name], parts[name]) for name in whole)


def test_a_wrong_number_of_frozen_stages_is_refused_before_any_frame_is_decoded(clips, tmp_path):
    with pytest.raises(EncoderError, match="frozen_stages must be between 0 and 4"):
        pretrain(clips, tmp_path / "w.safetensors", replace(QUICK, frozen_stages=9))
    assert not (tmp_path / "w.frames").exists()


def test_weights_of_another_network_are_refused_by_name(tmp_path):
    path = tmp_path / "w.safetensors"
    save_trained(path, torch.nn.Linear(2, 2), replace(catalog_entry("tsn_r18").spec, crop_size=64), about={})
    with pytest.raises(EncoderError, match="was trained for encoder tsn_r18, got encoder tsn_r50"):
        load_encoder("tsn_r50", weights=str(path), device="cpu")
    with pytest.raises(EncoderError, match="does not fit the network"):
        load_encoder("tsn_r18", weights=str(path), device="cpu")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"encoder": "tsn_r50_flow"}, "encoder must take RGB frames"),
        ({"size": 16}, "size must be >= 32"),
        ({"learning_rate": 0.0}, "learning_rate must be > 0"),
        ({"batch_size": 1}, "batch_size must be >= 2"),
    ],
)
def test_bad_settings_are_refused(clips, tmp_path, changes, words):
    with pytest.raises(SolaPipelineError, match=words):
        pretrain(clips, tmp_path / "w.safetensors", PretrainConfig(**{**QUICK.__dict__, **changes}))
    with pytest.raises(PipelineError, match=r"must be a \.safetensors file"):
        pretrain(clips, tmp_path / "w.pth", QUICK)

"""Two encoders of the same frames, side by side in one store: `extract --also-weights`."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

import pipeline
from encoders.encoder import load_encoder
from encoders.errors import EncoderError
from encoders.two_stream import StreamEncoder
from pipeline.config import LocalizeConfig
from pipeline.detection.model import load_model
from pipeline.errors import PipelineError
from pipeline.extraction.config import ExtractConfig
from pipeline.heads.config import HeadConfig, TrainConfig
from pipeline.stages.extract import extract
from pipeline.stages.localize import localize
from pipeline.stages.train import train
from pipeline.store.tools.verify import verify_store
from tests.toys import ToyEncoder
from tests.videos import constant

ALONE = ExtractConfig(encoder="toy", weights="toy", stride_frames=4, workers=1)
BOTH = replace(ALONE, also_weights="bsp.safetensors")
TINY = TrainConfig(
    epochs=1, min_steps_per_epoch=2, device="cpu", head=HeadConfig(embed_dim=8, levels=2, stem_blocks=1, tower_layers=1)
)


class OtherToy(ToyEncoder):
    """The numbers of the toy, times a hundred: their scale would drown those of the first encoder."""

    def __init__(self) -> None:
        super().__init__(batch_size=3)
        self.weights = replace(self.weights, name="bsp.safetensors", sha256="b" * 64)

    def encode(self, snippets):
        return 100 * super().encode(snippets)


@pytest.fixture
def videos(tmp_path):
    for name, frames in (("a", 21), ("b", 17)):
        constant(tmp_path / "videos" / f"{name}.mp4", frames, 10)
    return tmp_path / "videos"


@pytest.fixture
def toys(monkeypatch):
    by_weights = {"toy": ToyEncoder(), "bsp.safetensors": OtherToy()}
    monkeypatch.setattr("pipeline.extraction.encoders.load_encoder", lambda name, *, weights, **_: by_weights[weights])
    monkeypatch.setattr("pipeline.detection.locator.published_weights", lambda _: ("toy",))
    return by_weights


def annotations(path):
    database = {
        name: {"subset": subset, "duration": 2.0, "annotations": [{"segment": [0.4, 1.1], "label": "moves"}]}
        for name, subset in (("a", "training"), ("b", "validation"))
    }
    path.write_text(json.dumps({"version": "1", "database": database}))
    return path


def test_a_row_is_both_encoders_features_of_the_same_frames(videos, toys, tmp_path):
    alone, _ = extract([videos], tmp_path / "alone", ALONE)
    both, summary = extract([videos], tmp_path / "both", BOTH)
    assert summary.failed == {}
    for name in ("a", "b"):
        rows = both.read(name).features
        np.testing.assert_array_equal(rows[:, :6], alone.read(name).features)
        np.testing.assert_allclose(rows[:, 6:], 100 * alone.read(name).features, rtol=1e-6)
    stored = json.loads((tmp_path / "both" / "store.json").read_text())
    columns = [{"name": "rgb", "channels": [0, 6]}, {"name": "also", "channels": [6, 12]}]
    assert stored["encoder"]["streams"] == columns
    assert "flow" not in stored["encoder"] and "flow" not in stored["rows"]
    assert {stream: of["sha256"][0] for stream, of in stored["weights"].items()} == {"rgb": "0", "also": "b"}
    assert verify_store(both, deep=True) == []
    with pytest.raises(PipelineError, match="holds features of other settings"):
        extract([videos], tmp_path / "alone", BOTH)


def test_heads_scale_each_encoders_features_by_their_own_deviation(videos, toys, tmp_path):
    both, _ = extract([videos], tmp_path / "both", BOTH)
    assert both.spec.stream_channels == (6, 6)  # what `train` and `linear-probe` normalize by
    train(both, annotations(tmp_path / "a.json"), tmp_path / "model", TINY)
    std = load_model(tmp_path / "model").head.standardize.std.flatten()
    assert std[6:] == pytest.approx(100 * std[:6], rel=1e-4)  # of one deviation over all, they would be equal


def test_raw_video_and_store_give_the_same_detections(videos, toys, tmp_path):
    both, _ = extract([videos], tmp_path / "both", BOTH)
    train(both, annotations(tmp_path / "a.json"), tmp_path / "model", TINY)
    model = load_model(tmp_path / "model")
    with pytest.raises(PipelineError, match=r"weights from a file, bsp\.safetensors.*--also-weights FILE"):
        localize([videos], model, LocalizeConfig())
    expected = localize([both.path], model, LocalizeConfig()).detections
    found = localize([videos], model, LocalizeConfig(also_weights="bsp.safetensors")).detections
    assert sum(map(len, expected.values())) > 0
    for name, detections in expected.items():
        assert [d.score for d in found[name]] == pytest.approx([d.score for d in detections], abs=1e-5)
    toys["bsp.safetensors"].weights = replace(toys["bsp.safetensors"].weights, sha256="c" * 64)
    with pytest.raises(PipelineError, match=r"weights\.also\.sha256: 'ccc"):
        localize([videos], model, LocalizeConfig(also_weights="bsp.safetensors"))


def test_on_the_fly_it_is_the_stored_sequence(videos, toys, tmp_path):
    store, _ = extract([videos], tmp_path / "both", BOTH)
    sequence = pipeline.encode_video(
        videos / "b.mp4", "toy", weights="toy", also_weights="bsp.safetensors", stride_frames=4
    )
    np.testing.assert_array_equal(sequence.features, store.read("b").features)


def test_real_encoders_see_pictures_of_three_channels_and_refuse_other_sizes():
    one, two = (load_encoder("tsn_r18", weights="random", seed=seed, device="cpu", precision="fp32") for seed in (1, 2))
    both = StreamEncoder({"rgb": one, "also": two})
    shape = one.spec.snippet_shape
    assert both.snippet_shape == shape and shape[-1] == 3
    assert both.feature_dim == 2 * one.spec.feature_dim
    pixels = torch.randint(0, 256, (2, *shape), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    assert torch.equal(both.encode(pixels), torch.cat([one.encode(pixels), two.encode(pixels)], dim=1))
    two.spec = replace(two.spec, crop_size=112, short_side=128)
    with pytest.raises(EncoderError, match=r"differ in \['short_side', 'crop_size'\].*pretrain --size"):
        StreamEncoder({"rgb": one, "also": two})


def test_flow_alone_takes_no_second_weights_of_pictures():
    with pytest.raises(PipelineError, match="also_weights needs rgb among the streams"):
        ExtractConfig(streams="flow", also_weights="bsp.safetensors")

"""Flow beside audio, and all three streams, through all stages: real TV-L1, a tiny audio model, toy encoders."""

import json
from dataclasses import replace

import numpy as np
import pytest

import pipeline
from pipeline.config import LocalizeConfig, ProbeConfig
from pipeline.detection.model import load_model
from pipeline.extraction.config import ExtractConfig
from pipeline.planning.estimate import estimate
from pipeline.stages.enhance import enhance_store
from pipeline.stages.extract import extract
from pipeline.stages.linear_probe import probe
from pipeline.stages.localize import localize
from pipeline.stages.train import train
from pipeline.store.feature_store import FeatureStore
from pipeline.store.tools.verify import verify_store
from sola.config import SolaConfig
from tests.encoders.tiny_audio_models import tiny_audio
from tests.pipeline.stages.test_audio import annotations, videos  # noqa: F401  (a fixture)
from tests.pipeline.stages.test_flow import TINY
from tests.toys import use_toy_streams

pytest.importorskip("cv2")
# The toy's windows are 0.8 s long; these begin 0.4 s apart.
EACH = {
    "rgb": ExtractConfig(encoder="toy", weights="toy", stride_frames=4, workers=1),
    "flow": ExtractConfig(encoder="toy", weights_flow="toy", streams="flow", stride_frames=4, workers=1),
    "rgb,audio": ExtractConfig(encoder="toy", weights="toy", streams="rgb,audio", stride_frames=4, workers=1),
}
ALL = replace(EACH["rgb,audio"], streams="rgb,flow,audio", weights_flow="toy")
FLOW_AUDIO = replace(EACH["flow"], streams="flow,audio")
WIDTHS = {"rgb": 6, "flow": 4, "audio": 16}


@pytest.fixture
def audio(tmp_path) -> str:
    return f"hf:{tiny_audio('wav2vec2').save(tmp_path / 'tiny')}"


@pytest.fixture(autouse=True)
def encoders(monkeypatch):
    return use_toy_streams(monkeypatch)


@pytest.mark.parametrize("config", [ALL, FLOW_AUDIO], ids=lambda config: config.streams)
def test_each_stream_has_its_columns_with_the_rows_that_it_has_alone(videos, audio, tmp_path, config):  # noqa: F811
    config = replace(config, audio_encoder=audio)
    store, summary = extract([videos], tmp_path / "store", config)
    assert summary.failed == {} and summary.snippets == 16
    assert summary.text().endswith("; 1 video without audio, whose rows are silence")
    alone = {
        stream: extract([videos], tmp_path / stream, replace(one, audio_encoder=audio) if "a" in stream else one)[0]
        for stream, one in EACH.items()
    }
    stored = json.loads((store.path / "store.json").read_text())
    assert [column["name"] for column in stored["encoder"]["streams"]] == config.streams.split(",")
    assert store.spec.channels == sum(WIDTHS[name] for name in config.streams.split(","))
    for name, rows in (("a", 6), ("b", 5), ("c", 5)):
        features = store.read(name).features
        assert features.shape == (rows, store.spec.channels) and np.ptp(features[:, -20:], axis=0).max() > 0
        parts = {stream: one.read(name).features for stream, one in alone.items()}
        expected = {"rgb": parts["rgb"], "flow": parts["flow"], "audio": parts["rgb,audio"][:, 6:]}
        for column in stored["encoder"]["streams"]:
            np.testing.assert_allclose(
                features[:, slice(*column["channels"])], expected[column["name"]], atol=1e-5, err_msg=column["name"]
            )
        sidecar = json.loads(store.sidecar_path(name).read_text())
        assert sidecar["encoder"] == stored["encoder"] and "opencv" in sidecar["libraries"]
        assert sidecar["decoder"]["notes"] == (["no audio: its rows are silence"] if name == "c" else [])
    assert list(stored["weights"]) == list(stored["encoder"]["encoders"]) == config.streams.split(",")
    assert stored["encoder"]["flow"]["method"] == "tvl1" and stored["encoder"]["encoders"]["audio"]["name"] == "hf:tiny"
    assert store.spec.stream_channels == tuple(WIDTHS[name] for name in config.streams.split(","))
    assert FeatureStore.open(store.path).spec == store.spec and verify_store(store, deep=True) == []
    planned = estimate([videos], tmp_path / "none", config)
    assert planned.snippets == 16 and planned.flow_fields > 0


@pytest.mark.parametrize("config", [ALL, FLOW_AUDIO], ids=lambda config: config.streams)
def test_sola_train_and_localize_take_them(videos, audio, tmp_path, config):  # noqa: F811
    config = replace(config, audio_encoder=audio)
    store, _ = extract([videos], tmp_path / "store", config)
    settings = {"streams": config.streams, "audio_encoder": audio, "weights_flow": "toy", "stride_frames": 4}
    weights = {"weights": "toy"} if "rgb" in config.streams else {}
    sequence = pipeline.encode_video(videos / "b.mp4", "toy", **settings, **weights)
    np.testing.assert_array_equal(sequence.features, store.read("b").features)
    truth = annotations(tmp_path / "a.json")
    enhanced, _ = enhance_store(
        store, tmp_path / "enhanced", SolaConfig(hidden=8, predictor_hidden=8, steps=5, device="cpu")
    )
    assert enhanced.read("a").features.shape == store.read("a").features.shape
    assert len(probe([store, enhanced], truth, ProbeConfig(seeds=(0,), filters=())).stores) == 2
    train(enhanced, truth, tmp_path / "model", TINY)
    model = load_model(tmp_path / "model")
    from_store = localize([enhanced.path], model, LocalizeConfig()).detections
    from_videos = localize([videos], model, LocalizeConfig(audio_encoder=audio)).detections
    assert sum(map(len, from_store.values())) > 0 and from_videos.keys() == from_store.keys()
    for name, expected in from_store.items():
        assert [d.segment for d in from_videos[name]] == [pytest.approx(d.segment, abs=1e-5) for d in expected]
        assert [d.score for d in from_videos[name]] == pytest.approx([d.score for d in expected], abs=1e-5)

"""Audio as a stream through all stages, on made videos with a beep, with a toy encoder of pictures."""

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

import pipeline
from encoders.errors import EncoderError
from pipeline.config import LocalizeConfig
from pipeline.detection.model import load_model
from pipeline.errors import PipelineError
from pipeline.extraction.config import ExtractConfig
from pipeline.planning.estimate import estimate
from pipeline.stages.enhance import enhance_store
from pipeline.stages.extract import extract
from pipeline.stages.localize import localize
from pipeline.stages.localize_live import LiveLocator
from pipeline.stages.train import train
from pipeline.store.feature_store import FeatureStore
from pipeline.store.tools.verify import verify_store
from sola.config import SolaConfig
from tests.encoders.tiny_audio_models import tiny_audio
from tests.pipeline.stages.test_flow import TINY
from tests.pipeline.stages.test_stages import features_of
from tests.sounds import beeping, write_with_audio
from tests.toys import TOY_SPEC, use_toy_streams

# The toy's windows are 0.8 s long; these begin 0.4 s apart.
BOTH = ExtractConfig(encoder="toy", weights="toy", streams="rgb,audio", stride_frames=4, workers=1)
RGB = ExtractConfig(encoder="toy", weights="toy", stride_frames=4, workers=1)
AUDIO = ExtractConfig(encoder="toy", streams="audio", stride_frames=4, workers=1)
SILENT = np.concatenate([np.full(64, np.log(0.01)), np.zeros(64)])


@pytest.fixture
def videos(tmp_path):
    """`a` beeps in [1.0, 1.1), `b` in [0.5, 0.6) of pictures that begin 0.5 s before its audio; `c` has no audio."""
    folder = tmp_path / "videos"
    write_with_audio(folder / "a.mp4", 24, beeping(2.4, [(1.0, 1.1)], rate=48000), codec="aac")
    write_with_audio(folder / "b.mp4", 20, beeping(1.5, [(0.0, 0.1)], rate=48000), codec="aac", audio_from=0.5)
    write_with_audio(folder / "c.mp4", 20, None)
    return folder


@pytest.fixture
def encoders(monkeypatch):
    monkeypatch.setattr("pipeline.extraction.encoders.catalog_entry", lambda *_, **__: SimpleNamespace(spec=TOY_SPEC))
    return use_toy_streams(monkeypatch)


def test_rows_of_pictures_and_audio_stand_side_by_side_and_only_those_that_cover_a_beep_are_loud(
    videos, encoders, tmp_path
):
    store, summary = extract([videos], tmp_path / "both", BOTH)
    rgb, _ = extract([videos], tmp_path / "rgb", RGB)
    assert summary.failed == {}
    assert summary.text().endswith("; 1 video without audio, whose rows are silence")
    # Windows [0.4 i, 0.4 i + 0.8) that meet the beep at 1.0: 1, 2; at 0.5: 0, 1.
    for name, rows, loud in (("a", 6, {1, 2}), ("b", 5, {0, 1}), ("c", 5, set())):
        features = store.read(name).features
        assert features.shape == (rows, 6 + 128)
        np.testing.assert_allclose(features[:, :6], rgb.read(name).features, atol=1e-6)
        assert {row for row in range(rows) if features[row, 70:].max() > 1.0} == loud  # deviation over time
    np.testing.assert_allclose(store.read("c").features[:, 6:], np.tile(SILENT, (5, 1)), atol=1e-5)
    stored = json.loads((tmp_path / "both" / "store.json").read_text())
    columns = [{"name": "rgb", "channels": [0, 6]}, {"name": "audio", "channels": [6, 134]}]
    assert stored["encoder"]["streams"] == columns
    assert stored["encoder"]["encoders"]["audio"]["name"] == stored["weights"]["audio"]["name"] == "logmel"
    notes = [json.loads(store.sidecar_path(name).read_text())["decoder"]["notes"] for name in "abc"]
    assert notes == [[], [], ["no audio: its rows are silence"]]
    assert store.spec.stream_channels == (6, 128)
    assert FeatureStore.open(store.path).spec == store.spec and verify_store(store, deep=True) == []


def test_audio_alone_has_the_rows_of_the_pictures_and_decodes_none(videos, encoders, tmp_path):
    store, _ = extract([videos], tmp_path / "both", BOTH)
    alone, _ = extract([videos], tmp_path / "audio", AUDIO)
    for name in "abc":
        assert np.array_equal(alone.read(name).features, store.read(name).features[:, 6:])
        assert alone.read(name).duration_seconds == store.read(name).duration_seconds
    assert json.loads(alone.sidecar_path("a").read_text())["decoder"]["reason"] == "audio alone: no picture is decoded"
    sequence = pipeline.encode_video(videos / "b.mp4", "toy", streams="audio", stride_frames=4)
    assert np.array_equal(sequence.features, alone.read("b").features)


def test_features_do_not_depend_on_workers_and_a_dry_run_works(videos, encoders, tmp_path):
    one, _ = extract([videos], tmp_path / "one", BOTH)
    two, _ = extract([videos], tmp_path / "two", replace(BOTH, workers=2))
    assert features_of(one) == features_of(two)
    for config in (BOTH, AUDIO):
        assert estimate([videos], tmp_path / "none", config).snippets == 16


def annotations(path):
    database = {
        name: {"subset": subset, "duration": 2.0, "annotations": [{"segment": [0.4, 1.2], "label": "beeps"}]}
        for name, subset in (("a", "training"), ("b", "training"), ("c", "validation"))
    }
    path.write_text(json.dumps({"version": "1", "database": database}))
    return path


@pytest.mark.parametrize("streams", ["rgb,audio", "audio"])
def test_raw_video_and_store_give_the_same_detections(videos, encoders, tmp_path, streams):
    store, _ = extract([videos], tmp_path / "both", BOTH if streams == "rgb,audio" else AUDIO)
    settings = SolaConfig(hidden=8, predictor_hidden=8, steps=5, device="cpu")
    enhanced, _ = enhance_store(store, tmp_path / "enhanced", settings)
    train(enhanced, annotations(tmp_path / "a.json"), tmp_path / "model", TINY)
    model = load_model(tmp_path / "model")
    from_store = localize([enhanced.path], model, LocalizeConfig()).detections
    from_videos = localize([videos], model, LocalizeConfig()).detections
    assert sum(map(len, from_store.values())) > 0 and from_videos.keys() == from_store.keys()
    for name, expected in from_store.items():
        assert [d.segment for d in from_videos[name]] == [pytest.approx(d.segment, abs=1e-5) for d in expected]
        assert [d.score for d in from_videos[name]] == pytest.approx([d.score for d in expected], abs=1e-5)
    with pytest.raises(PipelineError, match="live: the model needs audio"):
        LiveLocator(str(videos / "a.mp4"), model, LocalizeConfig(), note=print)


def test_a_model_of_hugging_face_is_found_again_by_its_folder_and_no_other_is_taken(videos, encoders, tmp_path):
    folder = tiny_audio("wav2vec2").save(tmp_path / "tiny")
    store, _ = extract([videos], tmp_path / "both", replace(BOTH, audio_encoder=f"hf:{folder}"))
    assert store.read("a").features.shape == (6, 6 + 16)
    train(store, annotations(tmp_path / "a.json"), tmp_path / "model", TINY)
    model = load_model(tmp_path / "model")
    with pytest.raises(EncoderError, match="model folder tiny does not exist"):
        localize([videos], model, LocalizeConfig())
    found = localize([videos], model, LocalizeConfig(audio_encoder=f"hf:{folder}"))
    assert found.detections.keys() == {"a", "b", "c"}
    with pytest.raises(PipelineError, match=r"encoder\.encoders\.audio\.name: 'logmel' here, 'hf:tiny' there"):
        localize([videos], model, LocalizeConfig(audio_encoder="logmel"))


def test_settings_that_contradict_each_other_are_refused(videos, encoders, tmp_path):
    for settings, words in (
        ({"streams": "audio", "weights": "x.pt"}, "with streams='audio' weights has no effect"),
        ({"audio_encoder": "hf:x"}, "audio_encoder needs audio among the streams, got 'rgb'"),
        ({"streams": "rgb,audio", "fps": "video"}, "with audio give fps as a number"),
        ({"streams": "audio", "also_weights": "x.pt"}, "also_weights needs rgb among the streams"),
    ):
        with pytest.raises(PipelineError, match=words):
            ExtractConfig(**settings)
    with pytest.raises(EncoderError, match=r"logmel takes windows of at least 0\.025 seconds"):
        extract([videos], tmp_path / "s", ExtractConfig(encoder="toy", streams="audio", fps=1000.0))

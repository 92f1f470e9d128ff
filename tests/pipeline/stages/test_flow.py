"""Two streams through all stages, on real video files with real TV-L1 and toy encoders."""

import json
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

import pipeline
from pipeline.config import LocalizeConfig, ProbeConfig
from pipeline.detection.model import load_model
from pipeline.errors import PipelineError
from pipeline.extraction.config import ExtractConfig
from pipeline.extraction.encode import flow_shares
from pipeline.heads.config import HeadConfig, TrainConfig
from pipeline.planning.estimate import estimate
from pipeline.stages.enhance import enhance_store
from pipeline.stages.extract import extract
from pipeline.stages.linear_probe import probe
from pipeline.stages.localize import localize
from pipeline.stages.train import train
from pipeline.store.feature_store import FeatureStore
from pipeline.store.tools.verify import verify_store
from pipeline.video.videos import VideoFile
from sola.config import SolaConfig
from tests.pipeline.stages.test_stages import features_of
from tests.pipeline.video.test_flow import texture
from tests.toys import TOY_FLOW_SPEC, TOY_SPEC, use_toy_streams
from tests.videos import constant

pytest.importorskip("cv2")
BOTH = ExtractConfig(encoder="toy", weights="toy", weights_flow="toy", streams="rgb,flow", stride_frames=4, workers=1)
RGB = ExtractConfig(encoder="toy", weights="toy", stride_frames=4, workers=1)
FLOW = ExtractConfig(encoder="toy", weights_flow="toy", streams="flow", stride_frames=4, workers=1)


def moving_video(path: Path, frames: int, *, right: float, stops_at: int = 1000) -> Path:
    """Write a texture of 64 x 96 pixels that moves by `right` pixels a frame, then stands still; 10 frames a second."""

    def draw(index: int, height: int, width: int) -> np.ndarray:
        return texture(height, width, right=right * min(index, stops_at))

    return constant(path, frames, 10, size=(64, 96), draw=draw)


@pytest.fixture
def videos(tmp_path):
    moving_video(tmp_path / "videos" / "a.mp4", 21, right=3.0)
    moving_video(tmp_path / "videos" / "b.mp4", 17, right=-2.0, stops_at=8)
    return tmp_path / "videos"


@pytest.fixture
def encoders(monkeypatch):
    return use_toy_streams(monkeypatch)


def test_rgb_and_flow_stand_side_by_side_in_the_order_that_store_and_sidecar_state(videos, encoders, tmp_path):
    store, summary = extract([videos], tmp_path / "both", BOTH)
    assert summary.failed == {}
    rgb, _ = extract([videos], tmp_path / "rgb", RGB)
    flow, _ = extract([videos], tmp_path / "flow", FLOW)
    for name, rows in (("a", 6), ("b", 5)):
        features = store.read(name).features
        assert features.shape == (rows, 10)
        np.testing.assert_allclose(features[:, :6], rgb.read(name).features, atol=1e-5)
        assert np.array_equal(features[:, 6:], flow.read(name).features)
    sidecar = json.loads(store.sidecar_path("a").read_text())
    stored = json.loads((tmp_path / "both" / "store.json").read_text())
    columns = [{"name": "rgb", "channels": [0, 6]}, {"name": "flow", "channels": [6, 10]}]
    assert sidecar["encoder"]["streams"] == stored["encoder"]["streams"] == columns
    assert stored["encoder"]["encoders"] == {"rgb": TOY_SPEC.as_dict(), "flow": TOY_FLOW_SPEC.as_dict()}
    assert stored["encoder"]["flow"]["method"] == "tvl1" and stored["encoder"]["flow"]["version"] == 1
    assert stored["weights"]["flow"]["sha256"] == "1" * 64
    assert (stored["rows"]["stack"], stored["rows"]["flow"]) == (2, True)
    assert "opencv" in sidecar["libraries"]
    assert store.spec.stream_channels == (6, 4) and flow.spec.stream_channels == rgb.spec.stream_channels == ()
    assert FeatureStore.open(store.path).spec == store.spec


def test_flow_is_that_of_the_scaled_video(videos, encoders, tmp_path):
    """3 pixels a frame in a video of 64 are 1.5 after scaling to 32: byte 128 + 6.375 * 1.5 = 137.6."""
    store, _ = extract([videos], tmp_path / "both", BOTH)
    right, down = store.read("a").features[:4, 6:8].T * 255
    np.testing.assert_allclose(right, 137.6, atol=1.5)
    np.testing.assert_allclose(down, 128, atol=0.7)
    # After frame 8 nothing moves: window 3 begins at 12. -2 pixels are -1 after scaling.
    moving, still = store.read("b").features[[0, 3], 6] * 255
    assert moving == pytest.approx(128 - 6.4, abs=1.5)
    assert still == pytest.approx(128, abs=0.1)


def test_at_each_videos_own_rate_flow_is_that_from_one_of_its_frames_to_the_next(encoders, tmp_path):
    draw = lambda index, height, width: texture(height, width, right=3.0 * index)  # noqa: E731
    for name, fps in (("slow", 10), ("fast", 25)):
        constant(tmp_path / "videos" / f"{name}.mp4", 21, fps, size=(64, 96), draw=draw)
    store, _ = extract([tmp_path / "videos"], tmp_path / "store", replace(BOTH, fps="video"))
    slow, fast = store.read("slow"), store.read("fast")
    assert (slow.plan.rate, fast.plan.rate) == (10, 25)
    assert (slow.plan.stack, slow.plan.flow) == (2, True)
    np.testing.assert_allclose(slow.features, fast.features, atol=1e-3)
    # At a fixed 10 frames a second the fast one skips frames, and moves 2.5 times as far from cell to cell.
    fixed, _ = extract([tmp_path / "videos"], tmp_path / "fixed", BOTH)
    np.testing.assert_allclose(fixed.read("slow").features, slow.features, atol=1e-6)
    motion = fixed.read("fast").features[0, 6] * 255 - 128
    assert motion == pytest.approx(2.5 * (slow.features[0, 6] * 255 - 128), rel=0.15)
    assert verify_store(store, deep=True) == []


def test_stores_without_flow_are_described_as_they_were(videos, encoders, tmp_path):
    extract([videos], tmp_path / "rgb", RGB)
    stored = json.loads((tmp_path / "rgb" / "store.json").read_text())
    later = ("stack", "interpolation", "pool")  # left out where they say nothing
    old_spec = {name: value for name, value in vars(TOY_SPEC).items() if name not in later}
    assert stored["encoder"] == json.loads(json.dumps(old_spec))
    assert stored["weights"] == {"name": "toy", "sha256": "0" * 64, "random": False, "seed": None}
    seconds = {"first_center_seconds", "stride_seconds", "window_seconds"}
    assert stored["rows"].keys() == {"meaning", "fps", "num_frames", "stride_frames", "tail", "window_frames", *seconds}


def test_features_do_not_depend_on_workers_and_a_second_run_encodes_nothing(videos, encoders, tmp_path):
    store, _ = extract([videos], tmp_path / "one", BOTH)
    other, _ = extract([videos], tmp_path / "two", replace(BOTH, workers=2))
    assert features_of(store) == features_of(other)
    encoded = encoders["toy_flow"].encoded
    _, summary = extract([videos], tmp_path / "one", BOTH)
    assert (summary.skipped, encoders["toy_flow"].encoded) == (2, encoded)
    store.sidecar_path("b").unlink()
    _, summary = extract([videos], tmp_path / "one", BOTH)
    assert summary.done == 1
    assert features_of(store) == features_of(other)
    assert verify_store(store, deep=True) == []


def test_other_streams_or_another_flow_into_a_store_are_refused(videos, encoders, tmp_path):
    extract([videos], tmp_path / "both", BOTH)
    with pytest.raises(PipelineError, match=r"rows\.flow: True here, None there"):
        extract([videos], tmp_path / "both", RGB)
    with pytest.raises(PipelineError, match=r"encoder\.flow\.method: 'tvl1' here, 'raft' there"):
        extract([videos], tmp_path / "both", replace(BOTH, flow="raft", raft_weights="random"))


def test_progress_tells_of_flow_fields(videos, encoders, tmp_path, monkeypatch):
    monkeypatch.setattr("pipeline.video.pool.DecodePool.decode", lambda pool, videos: _beat(pool, videos))
    told = []
    extract([videos], tmp_path / "both", BOTH, report=lambda done, text: told.append(text))
    assert any("5 flow fields" in text for text in told)


def _beat(pool, videos):
    next(iter(videos))
    pool._on_pictures(5)
    yield from ()


def test_a_feature_sequence_on_the_fly_is_the_stored_one(videos, encoders, tmp_path):
    store, _ = extract([videos], tmp_path / "both", BOTH)
    settings = {"weights": "toy", "weights_flow": "toy", "streams": "rgb,flow", "stride_frames": 4}
    sequence = pipeline.encode_video(videos / "b.mp4", "toy", **settings)
    np.testing.assert_array_equal(sequence.features, store.read("b").features)


def write_annotations(path: Path) -> Path:
    database = {
        name: {"subset": subset, "duration": 2.0, "annotations": [{"segment": [0.4, 1.1], "label": "moves"}]}
        for name, subset in (("a", "training"), ("b", "validation"))
    }
    path.write_text(json.dumps({"version": "1", "database": database}))
    return path


TINY = TrainConfig(
    epochs=1, min_steps_per_epoch=2, device="cpu", head=HeadConfig(embed_dim=8, levels=2, stem_blocks=1, tower_layers=1)
)


def test_raw_video_and_store_give_the_same_detections(videos, encoders, tmp_path):
    store, _ = extract([videos], tmp_path / "both", BOTH)
    enhanced, _ = enhance_store(
        store, tmp_path / "enhanced", SolaConfig(hidden=8, predictor_hidden=8, steps=5, device="cpu")
    )
    train(enhanced, write_annotations(tmp_path / "a.json"), tmp_path / "model", TINY)
    model = load_model(tmp_path / "model")
    from_store = localize([enhanced.path], model, LocalizeConfig()).detections
    from_videos = localize([videos], model, LocalizeConfig()).detections
    assert sum(map(len, from_store.values())) > 0
    assert from_videos.keys() == from_store.keys()
    for name, expected in from_store.items():
        assert [d.segment for d in from_videos[name]] == [pytest.approx(d.segment, abs=1e-5) for d in expected]
        assert [d.score for d in from_videos[name]] == pytest.approx([d.score for d in expected], abs=1e-5)


def test_a_model_of_two_streams_refuses_other_features_and_other_weights(videos, encoders, tmp_path):
    store, _ = extract([videos], tmp_path / "both", BOTH)
    rgb, _ = extract([videos], tmp_path / "rgb", RGB)
    train(store, write_annotations(tmp_path / "a.json"), tmp_path / "model", TINY)
    model = load_model(tmp_path / "model")
    with pytest.raises(PipelineError, match="was made with other settings than the model's"):
        localize([rgb.path], model, LocalizeConfig())
    encoders["toy_flow"].weights = replace(encoders["toy_flow"].weights, sha256="2" * 64)
    with pytest.raises(PipelineError, match=r"weights\.flow\.sha256: '222"):
        localize([videos], model, LocalizeConfig())
    model.features.weights["flow"]["name"] = "mine.pth"
    with pytest.raises(PipelineError, match=r"toy_flow has weights from a file, mine\.pth.*--weights-flow FILE"):
        localize([videos], model, LocalizeConfig())


def test_linear_evaluation_takes_the_streams_from_the_store(videos, encoders, tmp_path, monkeypatch):
    store, _ = extract([videos], tmp_path / "both", BOTH)
    seen = []
    import pipeline.stages.linear_probe as module

    real = module.linear_evaluation
    monkeypatch.setattr(
        module, "linear_evaluation", lambda *a, stream_channels, **k: seen.append(stream_channels) or real(*a, **k)
    )
    annotations = write_annotations(tmp_path / "a.json")
    probe([store], annotations, ProbeConfig(seeds=(0,)))
    probe([store], annotations, ProbeConfig(seeds=(0,), stream_channels=(5, 5)))
    assert seen == [(6, 4), (5, 5)]


def test_a_dry_run_tells_how_long_flow_takes(videos, encoders, tmp_path):
    result = estimate([videos], tmp_path / "none", BOTH)
    # 6 + 5 snippets, which take all cells 0 to 7 of their windows: with a stride of four, four of them are new.
    assert (result.snippets, result.flow_fields) == (11, 44)
    assert result.flow_seconds > 0
    assert "44 flow fields" in result.lines()[-1]
    assert estimate([videos], tmp_path / "none", RGB).flow_fields == 0


@pytest.mark.parametrize(
    ("cores", "count", "workers", "expected"),
    [
        (2, 1, None, (1, 2)),
        (2, 9, None, (2, 1)),
        (16, 1, None, (1, 16)),
        (16, 3, None, (3, 5)),
        (64, 99, None, (4, 16)),
        (8, 99, 2, (2, 4)),
        (2, 99, 5, (5, 1)),
    ],
)
def test_cores_are_shared_among_processes_and_threads_and_never_oversubscribed(
    monkeypatch, cores, count, workers, expected
):
    monkeypatch.setattr("pipeline.extraction.encode.usable_cores", lambda: cores)
    videos = [VideoFile(str(number), Path(str(number))) for number in range(count)]
    again, processes, threads = flow_shares(iter(videos), workers)
    assert (processes, threads) == expected
    assert list(again) == videos


def test_settings_that_contradict_each_other_are_refused():
    with pytest.raises(PipelineError, match="weights_flow needs flow among the streams"):
        ExtractConfig(weights_flow="x.pt")
    with pytest.raises(PipelineError, match="give weights_flow, not weights"):
        ExtractConfig(streams="flow", weights="x.pt")


def test_a_flow_encoder_by_its_own_name_and_one_without_flow_are_refused(tmp_path, videos):
    from encoders.errors import EncoderError

    with pytest.raises(PipelineError, match="choose --encoder i3d_inception --streams flow"):
        extract([videos], tmp_path / "s", ExtractConfig(encoder="i3d_inception_flow", weights="random"))
    with pytest.raises(EncoderError, match="i3d_r50 has no flow stream"):
        extract([videos], tmp_path / "s", ExtractConfig(streams="rgb,flow", weights="random"))


def test_window_fractions_survive_the_store(videos, encoders, tmp_path):
    store, _ = extract([videos], tmp_path / "both", replace(BOTH, window_seconds=0.85))
    assert store.spec.plan.window_frames == Fraction(17, 2)
    assert store.spec.plan.flow

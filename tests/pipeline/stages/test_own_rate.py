"""Sampling at each video's own frame rate: what a row means, which every stage reads from the sidecar."""

import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from pipeline.annotations import read_annotations
from pipeline.config import LocalizeConfig, TsmConfig
from pipeline.detection.locator import extract_config
from pipeline.detection.model import load_model
from pipeline.errors import PipelineError
from pipeline.extraction.config import ExtractConfig
from pipeline.extraction.in_memory import encode_folder
from pipeline.planning import estimate as estimating
from pipeline.planning.estimate import estimate
from pipeline.plots.tsm import tsm_view
from pipeline.snippets import SnippetPlan
from pipeline.stages.enhance import enhance_store
from pipeline.stages.extract import extract
from pipeline.stages.localize import localize
from pipeline.stages.train import train
from pipeline.store.feature_store import FeatureStore
from pipeline.store.tools.verify import verify_against_annotations, verify_store
from sola.config import SolaConfig
from tests import videos as make
from tests.pipeline.stages.test_localize import TINY, write_annotations
from tests.toys import toy_store_spec, use_toy_encoder

# The toy encoder takes cells 1, 3, 5 and 7 of its window of 8.
CONFIG = ExtractConfig(workers=1, fps="video", stride_frames=4)
NTSC = Fraction(30000, 1001)
LEVELS = 7  # a frame's gray value is 7 times its number


def gray(index: int, height: int, width: int) -> np.ndarray:
    return np.full((height, width, 3), LEVELS * index, np.uint8)


@pytest.fixture
def data(tmp_path: Path, monkeypatch) -> Path:
    encoder = use_toy_encoder(monkeypatch)
    monkeypatch.setattr(estimating, "open_encoder", lambda config: (encoder, toy_store_spec(config)))
    for name, fps, frames in (("slow", 10, 30), ("film", 24, 30), ("ntsc", NTSC, 30)):
        make.constant(tmp_path / "videos" / f"{name}.mp4", frames, fps, draw=gray)
    subsets = {"slow": "training", "film": "training", "ntsc": "validation"}
    segment = {"segment": [0.3, 0.9], "label": "brighter"}
    database = {name: {"subset": subset, "annotations": [segment]} for name, subset in subsets.items()}
    (tmp_path / "annotations.json").write_text(json.dumps({"version": "1", "database": database}))
    return tmp_path


def test_every_video_gives_the_same_frames_whatever_its_rate(data):
    store, _ = extract([data / "videos"], data / "store", CONFIG)
    for video_id in ("slow", "film", "ntsc"):
        sequence = store.read(video_id)
        assert len(sequence.features) == 8  # ceil(30 / 4)
        first, last = sequence.features[:, 0] * 255 / LEVELS, sequence.features[:, 3] * 255 / LEVELS
        assert np.rint(first).tolist() == [min(29, 4 * row + 1) for row in range(8)]
        assert np.rint(last).tolist() == [min(29, 4 * row + 7) for row in range(8)]


def test_the_sidecar_says_the_seconds_and_the_store_that_they_differ(data):
    store, _ = extract([data / "videos"], data / "store", CONFIG)
    assert store.spec.plan.fps is None
    assert json.loads((data / "store" / "store.json").read_text())["rows"]["stride_seconds"] is None
    assert FeatureStore.open(data / "store").spec == store.spec
    for video_id, rate in (("slow", Fraction(10)), ("film", Fraction(24)), ("ntsc", NTSC)):
        sequence = store.read(video_id)
        assert sequence.plan.stride_seconds == 4 / rate
        assert sequence.plan.window_seconds == 8 / rate
        assert sequence.sidecar["rows"]["stride_seconds"] == float(4 / rate)
        assert sequence.sidecar["rows"]["first_center_seconds"] == float(4 / rate)
    with pytest.raises(PipelineError, match="each video's own frame rate"):
        _ = store.spec.plan.stride_seconds


def test_a_store_at_a_fixed_rate_and_one_at_the_videos_rates_are_two(data):
    extract([data / "videos"], data / "store", CONFIG)
    with pytest.raises(PipelineError, match=r"rows\.fps: 'video' here, '10' there"):
        extract([data / "videos"], data / "store", ExtractConfig(workers=1, stride_frames=4))
    store, _ = extract([data / "videos"], data / "fixed", ExtractConfig(workers=1, stride_frames=4, fps=24))
    assert [len(store.read(i).features) for i in ("slow", "film")] == [18, 8]  # 3 s and 1.25 s, 6 rows a second


def test_a_plan_for_all_videos_becomes_that_of_one():
    plan = SnippetPlan(fps=None, window_frames=Fraction(16), stride_frames=Fraction(4), num_frames=16)
    assert plan.at(Fraction(25)).frame_times(1) == [Fraction(2 * n + 1, 50) for n in range(4, 20)]
    fixed = SnippetPlan(fps=Fraction(30), window_frames=Fraction(16), stride_frames=Fraction(4), num_frames=16)
    assert fixed.at(Fraction(25)) is fixed


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"fps": "video", "stride_seconds": 0.5}, "with fps='video' give stride_frames, not stride_seconds"),
        ({"fps": 0.0}, "fps must be > 0, got 0"),
        ({"fps": "own"}, "fps must be a number of frames a second, or 'video', got 'own'"),
    ],
)
def test_bad_rates_are_refused(settings, words):
    with pytest.raises(PipelineError, match=words):
        ExtractConfig(**settings)


def test_verify_knows_each_videos_seconds(data):
    store, _ = extract([data / "videos"], data / "store", CONFIG)
    assert verify_store(store, deep=True) == []
    path = store.sidecar_path("film")
    sidecar = json.loads(path.read_text())
    path.write_text(json.dumps({**sidecar, "rows": {**sidecar["rows"], "stride_seconds": 0.4}}))
    assert [(p.id, p.kind) for p in verify_store(store, deep=True)] == [("film", "spec")]
    path.write_text(json.dumps({**sidecar, "rows": {**sidecar["rows"], "window_frames": "9"}}))
    assert [(p.id, p.kind) for p in verify_store(store, deep=True)] == [("film", "spec")]
    path.write_text(json.dumps(sidecar))
    annotated = write_annotations(data / "other.json", slow="training", film="training", ntsc="training")
    problems = verify_against_annotations(store, read_annotations(annotated))
    assert [p.id for p in problems] == ["film", "ntsc"]  # 3 s annotated


def test_a_dry_run_foresees_the_rows(data):
    assert estimate([data / "videos"], None, CONFIG, sample=10).snippets == 24


def test_rows_on_the_fly_carry_their_seconds(data):
    found = {sequence.id: sequence.plan for sequence in encode_folder([data / "videos"], fps="video", stride_frames=4)}
    assert {name: plan.rate for name, plan in found.items()} == {"slow": 10, "film": 24, "ntsc": NTSC}


def test_raw_video_and_store_give_the_same_detections_in_seconds_of_their_video(data):
    store, _ = extract([data / "videos"], data / "store", CONFIG)
    enhanced, _ = enhance_store(
        store, data / "enhanced", SolaConfig(hidden=8, predictor_hidden=8, steps=5, device="cpu")
    )
    assert enhanced.read("film").plan.rate == 24
    assert verify_store(enhanced, deep=True) == []
    train(enhanced, data / "annotations.json", data / "model", TINY)
    model = load_model(data / "model")
    assert extract_config(model, LocalizeConfig()).fps == "video"
    from_store = localize([data / "enhanced"], model, LocalizeConfig()).detections
    from_videos = localize([data / "videos"], model, LocalizeConfig()).detections
    assert from_store.keys() == from_videos.keys() == {"slow", "film", "ntsc"}
    for video_id, expected in from_store.items():
        assert expected
        for one, two in zip(from_videos[video_id], expected, strict=True):
            assert one.segment == pytest.approx(two.segment, abs=1e-5)
            assert one.score == pytest.approx(two.score, abs=1e-5)
    # The same pixels at 24 and at 30000/1001 frames a second: the same segments, on a clock that is 1.25 times as fast.
    ratio = 24 / float(NTSC)
    for one, two in zip(from_store["ntsc"], from_store["film"], strict=True):
        assert one.segment == pytest.approx([ratio * time for time in two.segment], abs=1e-3)


def test_the_picture_of_a_video_has_its_seconds_along_the_axes(data):
    store, _ = extract([data / "videos"], data / "store", CONFIG)
    [tsm] = tsm_view([store], "film", TsmConfig()).tsms
    assert tsm.end_seconds - tsm.start_seconds == pytest.approx(8 * 4 / 24)

"""Detections of a trained model are the same from raw video and from stores; refusals."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.annotations.detections import write_detections
from pipeline.annotations.segments import Detection
from pipeline.config import LocalizeConfig
from pipeline.detection.model import load_model
from pipeline.detection.video_scores import read_video_scores
from pipeline.errors import PipelineError
from pipeline.extraction.config import ExtractConfig
from pipeline.heads.config import HeadConfig, TrainConfig
from pipeline.metrics.config import EvaluateConfig
from pipeline.stages.enhance import enhance_store
from pipeline.stages.evaluate import evaluate
from pipeline.stages.extract import extract
from pipeline.stages.localize import localize
from pipeline.stages.train import train
from pipeline.store.feature_store import FeatureStore
from sola.config import SolaConfig
from tests.pipeline.stages.test_stages import gray_video
from tests.toys import use_toy_encoder

# Windows of 8 snippets, so that videos of 12 snippets are searched in several.
TINY = TrainConfig(
    epochs=2,
    min_steps_per_epoch=2,
    device="cpu",
    head=HeadConfig(embed_dim=8, levels=2, stem_blocks=1, tower_layers=1, max_test_snippets=8),
)


def write_annotations(path: Path, **videos: str) -> Path:
    database = {
        name: {"subset": subset, "duration": 3.0, "annotations": [{"segment": [0.8, 1.9], "label": "brighter"}]}
        for name, subset in videos.items()
    }
    path.write_text(json.dumps({"version": "1", "database": database}))
    return path


@pytest.fixture
def data(tmp_path, monkeypatch):
    use_toy_encoder(monkeypatch)
    for name, frames in (("a", 30), ("b", 30), ("c", 29)):
        gray_video(tmp_path / "videos" / f"{name}.mp4", frames)
    write_annotations(tmp_path / "annotations.json", a="training", b="training", c="validation")
    config = ExtractConfig(workers=1, stride_frames=2.5)
    store, _ = extract([tmp_path / "videos"], tmp_path / "store", config)
    settings = SolaConfig(hidden=8, predictor_hidden=8, steps=20, learning_rate=0.05, device="cpu")
    enhance_store(store, tmp_path / "enhanced", settings)
    return tmp_path


def trained(data: Path, store: str) -> Path:
    train(FeatureStore.open(data / store), data / "annotations.json", data / f"model_{store}", TINY)
    return data / f"model_{store}"


@pytest.mark.parametrize("store", ["store", "enhanced"])
def test_raw_video_plain_store_and_enhanced_store_give_the_same_detections(data, store):
    model = load_model(trained(data, store))
    from_store = localize([data / store], model, LocalizeConfig()).detections
    from_plain_store = localize([data / "store"], model, LocalizeConfig()).detections
    from_videos = localize([data / "videos"], model, LocalizeConfig()).detections
    assert sum(map(len, from_store.values())) > 0
    for other in (from_plain_store, from_videos):
        assert other.keys() == from_store.keys()
        for video_id, expected in from_store.items():
            found = other[video_id]
            assert [d.label for d in found] == [d.label for d in expected]
            for one, two in zip(found, expected, strict=True):
                assert one.segment == pytest.approx(two.segment, abs=1e-5)
                assert one.score == pytest.approx(two.score, abs=1e-5)


def test_sola_changes_what_the_head_sees(data):
    plain, enhanced = FeatureStore.open(data / "store"), FeatureStore.open(data / "enhanced")
    assert abs(plain.read("a").features - enhanced.read("a").features).max() > 1e-4


def test_a_bad_video_costs_only_itself(data):
    model = load_model(trained(data, "enhanced"))
    (data / "videos" / "bad.mp4").write_text("no video")
    result = localize([data / "videos"], model, LocalizeConfig())
    assert sorted(result.detections) == ["a", "b", "c"]
    assert result.failed["bad"].startswith("unreadable: ")


def test_a_store_of_other_settings_is_refused_by_name(data):
    model = load_model(trained(data, "enhanced"))
    other, _ = extract([data / "videos"], data / "other", ExtractConfig(workers=1, stride_frames=3))
    with pytest.raises(PipelineError, match=r"rows\.stride_frames: '3' here, '5/2' there"):
        localize([other.path], model, LocalizeConfig())


def test_a_store_enhanced_by_another_module_is_refused(data):
    model = load_model(trained(data, "enhanced"))
    store = FeatureStore.open(data / "store")
    enhance_store(store, data / "again", SolaConfig(hidden=8, steps=3, seed=1, device="cpu"))
    with pytest.raises(PipelineError, match=r"sola\.module_sha256"):
        localize([data / "again"], model, LocalizeConfig())


def test_a_model_folder_whose_files_do_not_fit_is_refused(data):
    path = trained(data, "enhanced")
    head = path / "head.safetensors"
    head.write_bytes(head.read_bytes()[:-4] + b"abcd")
    with pytest.raises(PipelineError, match=r"not the file that model\.json describes"):
        load_model(path)
    with pytest.raises(PipelineError, match="is not a trained model"):
        load_model(data)


def test_training_needs_a_training_video(data):
    write_annotations(data / "other.json", a="testing")
    with pytest.raises(PipelineError, match=r"none of the videos .* is in subset 'training'"):
        train(FeatureStore.open(data / "store"), data / "other.json", data / "m", TINY)
    write_annotations(data / "unknown.json", x="training", y="validation")
    with pytest.raises(PipelineError, match=r"no video of .*unknown.json is in"):
        train(FeatureStore.open(data / "store"), data / "unknown.json", data / "m", TINY)
    assert not (data / "m").exists()


def test_videos_without_annotation_and_without_features_are_counted(data):
    write_annotations(data / "part.json", a="training", c="validation", z="training")
    summary = train(FeatureStore.open(data / "store"), data / "part.json", data / "m", TINY)
    assert (summary.training_videos, summary.validation_videos) == (1, 1)
    assert any("1 annotated without features (z)" in note and "(b)" in note for note in summary.notes)


def test_training_twice_gives_the_same_model(data):
    first = (trained(data, "store") / "head.safetensors").read_bytes()
    second = (trained(data, "store") / "head.safetensors").read_bytes()
    assert first == second


def test_interrupted_training_goes_on_and_ends_the_same(data):
    expected = (trained(data, "store") / "head.safetensors").read_bytes()
    reports = []

    def interrupt(done: float, text: str) -> None:
        reports.append(done)
        raise KeyboardInterrupt

    store, out = FeatureStore.open(data / "store"), data / "again"
    with pytest.raises(KeyboardInterrupt):
        train(store, data / "annotations.json", out, TINY, report=interrupt)
    assert not (out / "model.json").exists()
    train(store, data / "annotations.json", out, TINY, report=lambda done, text: reports.append(done))
    assert reports == [0.5, 1.0]  # the first epoch was not trained again
    assert (out / "head.safetensors").read_bytes() == expected


def test_evaluation_of_the_ground_truth_itself_is_perfect(data):
    from pipeline.annotations import read_annotations

    truth = read_annotations(data / "annotations.json")
    detections = {i: [Detection(s.segment, s.label, 0.9) for s in v.segments] for i, v in truth.videos.items()}
    write_detections(data / "d.json", detections)
    result = evaluate(data / "d.json", data / "annotations.json", EvaluateConfig(tious=(1.0,)))
    assert result.results["own"].average == 1.0
    assert result.videos == 1
    assert any("2 videos outside the subset" in note for note in result.notes)
    shifted = [replace(d, segment=(d.segment[0] + 0.55, d.segment[1] + 0.55)) for d in detections["c"]]
    write_detections(data / "d.json", {"c": shifted})
    # 1.1 s long, shifted by half of that: tIoU 1/3.
    result = evaluate(data / "d.json", data / "annotations.json", EvaluateConfig(tious=(0.33, 0.34)))
    assert result.results["own"].map.tolist() == [1.0, 0.0]


def test_blocked_videos_count_neither_for_nor_against(data):
    write_detections(data / "d.json", {i: [Detection((1.0, 2.1), "brighter", 0.5)] for i in "abc"})
    (data / "blocked.json").write_text('["v_a", "elsewhere"]')
    (data / "blocked.txt").write_text("a\nelsewhere\n")
    for file in (data / "blocked.json", data / "blocked.txt"):
        config = EvaluateConfig(subset="all", blocked_videos=file)
        result = evaluate(data / "d.json", data / "annotations.json", config)
        assert (result.videos, result.results["thumos"].segments.sum()) == (2, 2)
        assert result.results["thumos"].detections == 2
        assert result.notes[-1:] == ["1 blocked video is left out"]
    (data / "blocked.json").write_text('{"a": 1}')
    with pytest.raises(PipelineError, match="must be a JSON list of ids, or a text file"):
        evaluate(data / "d.json", data / "annotations.json", replace(config, blocked_videos=data / "blocked.json"))
    with pytest.raises(PipelineError, match="must not be given for protocol=thumos, which has none"):
        EvaluateConfig(protocol="thumos", blocked_videos=data / "blocked.txt")


def test_evaluation_refuses_a_subset_without_detections(data):
    write_detections(data / "d.json", {"a": []})
    with pytest.raises(PipelineError, match=r"no video of .* \(a\) is in subset .* \(c\); choose another --subset"):
        evaluate(data / "d.json", data / "annotations.json", EvaluateConfig())
    (data / "none.json").write_text(json.dumps({"database": {"a": {"subset": "validation", "annotations": []}}}))
    with pytest.raises(PipelineError, match=r"none\.json has no segments in the 1 video of subset 'validation'"):
        evaluate(data / "d.json", data / "none.json", EvaluateConfig())


def test_a_folder_of_feature_files_is_no_store_and_that_is_said(data):
    train(FeatureStore.open(data / "store"), data / "annotations.json", data / "m", TINY)
    with pytest.raises(PipelineError, match=r"no video below .*; feature files are read from a store: .* `import`"):
        localize([data / "store" / "features"], load_model(data / "m"), LocalizeConfig())


def test_rows_that_come_again_replace_those_that_are_void(data, monkeypatch):
    from pipeline.video.events import Restarted, Snippets
    from pipeline.video.pool import DecodePool

    model = load_model(trained(data, "store"))
    expected = localize([data / "videos"], model, LocalizeConfig()).detections
    decode = DecodePool.decode

    def decode_twice(pool, videos):
        """Restart as if the first decoder met damage: yield some black rows, then all rows again."""
        for video in videos:
            events = list(decode(pool, [video]))
            first = next(event for event in events if isinstance(event, Snippets))
            yield replace(first, pictures=first.pictures * 0)
            yield Restarted(video, "damage")
            yield from events

    monkeypatch.setattr(DecodePool, "decode", decode_twice)
    assert localize([data / "videos"], model, LocalizeConfig()).detections == expected
    again, _ = extract([data / "videos"], data / "again", ExtractConfig(workers=1, stride_frames=2.5))
    assert again.fingerprint() == FeatureStore.open(data / "store").fingerprint()


def test_proposals_are_named_by_a_classifier_of_whole_videos(data):
    config = replace(TINY, class_agnostic=True)
    train(FeatureStore.open(data / "store"), data / "annotations.json", data / "m", config)
    model = load_model(data / "m")
    assert len(model.labels) == 1
    plain = localize([data / "store"], model, LocalizeConfig()).detections
    (data / "scores.json").write_text(json.dumps({i: {"x": 0.25, "y": 0.0} for i in plain}))
    named = localize([data / "store"], model, LocalizeConfig(), video_scores=read_video_scores(data / "scores.json"))
    best, proposal = named.detections["a"][0], plain["a"][0]
    assert (best.label, best.segment) == ("x", proposal.segment)
    assert best.score == pytest.approx(0.5 * proposal.score**0.5)
    with pytest.raises(PipelineError, match="3 of 3 videos have none"):
        localize([data / "store"], model, LocalizeConfig(), video_scores={})
    assert named.notes == []
    train(FeatureStore.open(data / "store"), data / "annotations.json", data / "aware", TINY)
    model = load_model(data / "aware")
    aware = localize([data / "store"], model, LocalizeConfig(), video_scores={i: {} for i in plain})
    assert "trained with --class-agnostic" in aware.notes[0]


@pytest.mark.parametrize("kind", ["gtad", "actionness"])
def test_every_head_goes_the_same_way(data, kind):
    config = replace(TINY, head=replace(TINY.head, kind=kind, embed_dim=32, max_test_snippets=0))
    train(FeatureStore.open(data / "store"), data / "annotations.json", data / "m", config)
    detections = localize([data / "store"], load_model(data / "m"), LocalizeConfig()).detections
    assert sorted(detections) == ["a", "b", "c"]
    for found in detections.values():
        for detection in found:
            assert 0 <= detection.segment[0] < detection.segment[1] <= 3.0

"""Models of heads trained together with SoLa: they locate like any other, and options without effect are refused."""

from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.config import LocalizeConfig
from pipeline.detection.model import load_model
from pipeline.errors import PipelineError
from pipeline.extraction.config import ExtractConfig
from pipeline.heads.config import HeadConfig
from pipeline.stages.enhance import enhance_store
from pipeline.stages.extract import extract
from pipeline.stages.localize import localize
from pipeline.stages.train import train
from pipeline.store.feature_store import FeatureStore
from sola.config import SolaConfig
from tests.pipeline.stages.test_localize import write_annotations
from tests.pipeline.stages.test_stages import gray_video
from tests.pipeline.training.test_joint_sola import HEAD, MODULE, WAYS, config, items
from tests.stores import annotate, make_store
from tests.toys import use_toy_encoder


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    videos = {item.video_id: item.features for item in items()}
    subsets = {"0": "training", "1": "training", "2": "validation", "3": "training"}
    annotate(
        tmp_path / "annotations.json",
        {i: (subsets[i], len(rows) / 2, [(1.0, len(rows) / 4, "a")]) for i, rows in videos.items()},
    )
    return make_store(tmp_path / "store", videos)


@pytest.mark.parametrize("sola", WAYS)
def test_every_way_gives_a_model_that_locates(store: FeatureStore, tmp_path: Path, sola: str) -> None:
    settings = config(sola, device="auto", head=replace(HEAD, kind="actionness"), epochs=2)
    summary = train(store, tmp_path / "annotations.json", tmp_path / "model", settings)
    model = load_model(tmp_path / "model")
    assert (model.sola is not None) is (sola in ("unified", "unified_with_loss"))
    assert (model.features.sola is not None) is (model.sola is not None)
    assert any("gate of the trained SoLa module" in note for note in summary.notes) is (model.sola is not None)
    assert model.training["settings"]["sola"] == sola
    assert sum(map(len, localize([store.path], model, LocalizeConfig(device="cpu")).detections.values())) > 0


def test_a_module_is_not_trained_on_features_that_are_enhanced_already(tmp_path: Path) -> None:
    enhanced = make_store(
        tmp_path / "enhanced", {"0": items()[0].features}, sola={"module_sha256": "0" * 64, "settings": {}}
    )
    with pytest.raises(PipelineError, match=r"enhanced is already enhanced, and sola=unified .* `extract` wrote"):
        train(enhanced, tmp_path / "no.json", tmp_path / "model", config("unified"))


def test_raw_video_plain_store_and_store_enhanced_by_the_module_give_the_same_detections(tmp_path, monkeypatch) -> None:
    use_toy_encoder(monkeypatch)
    for name, frames in (("a", 30), ("b", 30), ("c", 29)):
        gray_video(tmp_path / "videos" / f"{name}.mp4", frames)
    truth = write_annotations(tmp_path / "annotations.json", a="training", b="training", c="validation")
    plain, _ = extract([tmp_path / "videos"], tmp_path / "store", ExtractConfig(workers=1, stride_frames=2.5))
    head = replace(HEAD, max_test_snippets=8)
    train(plain, truth, tmp_path / "model", config("unified_with_loss", head=head, epochs=8, ema_decay=0.0))
    model = load_model(tmp_path / "model")
    enhanced, _ = enhance_store(
        plain, tmp_path / "enhanced", SolaConfig(), module_file=tmp_path / "model" / "sola.safetensors"
    )
    assert abs(enhanced.read("a").features - plain.read("a").features).max() > 1e-4
    expected = localize([plain.path], model, LocalizeConfig(device="cpu")).detections
    assert sum(map(len, expected.values())) > 0
    for other in (tmp_path / "videos", enhanced.path):
        found = localize([other], model, LocalizeConfig(device="cpu")).detections
        assert found.keys() == expected.keys()
        for video_id, detections in expected.items():
            assert [d.label for d in found[video_id]] == [d.label for d in detections]
            for one, two in zip(found[video_id], detections, strict=True):
                assert one.segment == pytest.approx(two.segment, abs=1e-5)
                assert one.score == pytest.approx(two.score, abs=1e-5)


def test_options_that_would_be_ignored_or_cannot_be_are_refused() -> None:
    with pytest.raises(PipelineError, match=r"sola must be one of frozen, unified, .* got 'x'"):
        config("x")
    with pytest.raises(PipelineError, match="similarity_weight must be >= 0, got -1"):
        config("auxiliary", similarity_weight=-1)
    with pytest.raises(PipelineError, match=r"module.steps must stay None, got 5"):
        config("unified", module=replace(MODULE, steps=5))
    with pytest.raises(PipelineError, match=r"module.normalize must be none for sola=auxiliary, got center"):
        config("auxiliary", module=replace(MODULE, normalize="center"))
    with pytest.raises(PipelineError, match=r"head.tower_layers must be >= 1 for sola=auxiliary.*, got 0"):
        config("auxiliary", head=HeadConfig(kind="actionness", tower_layers=0))

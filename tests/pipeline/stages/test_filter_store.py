"""Filtered stores: written as SoLa writes its own, and applied by models that were trained on them."""

from dataclasses import replace

import numpy as np
import pytest

from pipeline.cli import main
from pipeline.config import LocalizeConfig, RunConfig, TsmConfig
from pipeline.detection.model import load_model
from pipeline.errors import PipelineError
from pipeline.heads.config import HeadConfig, TrainConfig
from pipeline.plots.tsm import tsm_view
from pipeline.stages.enhance import enhance_store
from pipeline.stages.filter_store import filter_store
from pipeline.stages.localize import localize
from pipeline.stages.run import run, run_on_features
from pipeline.stages.run_record import Stages
from pipeline.stages.train import train
from pipeline.store.feature_store import FeatureStore
from sola.config import SolaConfig, config_from_dict, preset
from sola.filters import FILTERS, Filter
from tests.stores import annotate, make_store

SEGMENTS = [(3.0, 8.0, "x")]


def rows(seed: int) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(0, 1, (20, 6)).astype(np.float32)
    noise[5:15, 0] += 4
    return noise


@pytest.fixture
def source(tmp_path):
    return make_store(tmp_path / "s", {name: rows(seed) for seed, name in enumerate("abcd")})


@pytest.mark.parametrize("name", FILTERS)
def test_a_filtered_store_has_the_filtered_rows_and_says_so(source, tmp_path, name, capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["enhance", str(source.path), "--filter", name, "--out", str(tmp_path / "f")])
    assert "4 sequences filtered, 0 were filtered before" in capsys.readouterr().out
    store = FeatureStore.open(tmp_path / "f")
    assert store.ids() == source.ids()
    by = Filter.from_json(store.spec.sola["filter"])
    assert by.name == name and (len(by.taps) == 5) == (name == "linear")
    for video in source.ids():
        np.testing.assert_array_equal(store.read(video).features, by.apply(source.read(video).features))
        assert store.sidecar(video)["duration_seconds"] == 10
    before = {path: path.read_bytes() for path in store.path.rglob("*") if path.is_file()}
    _, line = filter_store(source, store.path, name)
    assert "0 sequences filtered, 4 were filtered before" in line
    assert {path: path.read_bytes() for path in store.path.rglob("*") if path.is_file()} == before
    assert tsm_view([source, store], "a", TsmConfig()).tsms[1].title.endswith(f"after {name}")


def test_a_filter_is_refused_on_enhanced_features_and_into_another_store(source, tmp_path):
    filtered, _ = filter_store(source, tmp_path / "f", "mean3")
    with pytest.raises(PipelineError, match="already enhanced"):
        filter_store(filtered, tmp_path / "g", "mean3")
    with pytest.raises(PipelineError, match="already enhanced"):
        enhance_store(filtered, tmp_path / "g", SolaConfig(steps=1))
    with pytest.raises(PipelineError, match=r"sola\.filter\.name: 'mean3' here, 'mean5' there"):
        filter_store(source, tmp_path / "f", "mean5")


def test_a_model_trained_on_filtered_features_filters_plain_ones_itself(source, tmp_path):
    filtered, _ = filter_store(source, tmp_path / "f", "bilateral")
    subsets = dict(zip("abcd", ["training", "training", "training", "validation"], strict=True))
    truth = annotate(tmp_path / "t.json", {i: (s, 10, SEGMENTS) for i, s in subsets.items()})
    head = HeadConfig(kind="actionness", embed_dim=8)
    train(filtered, truth, tmp_path / "m", TrainConfig(epochs=1, min_steps_per_epoch=5, head=head, device="cpu"))
    model = load_model(tmp_path / "m")
    assert model.sola == Filter("bilateral")
    config = LocalizeConfig(device="cpu")
    of_plain, of_filtered = (localize([s.path], model, config).detections for s in (source, filtered))
    assert of_plain == of_filtered and any(of_plain.values())
    other, _ = filter_store(source, tmp_path / "g", "mean3")
    with pytest.raises(PipelineError, match=r"sola\.filter\.name"):
        localize([other.path], model, config)


def test_run_trains_a_head_on_each_filter_and_on_published_sola_beside_the_baseline_and_does_it_once(source, tmp_path):
    subsets = dict(zip("abcd", ["training", "training", "training", "validation"], strict=True))
    truth = annotate(tmp_path / "t.json", {i: (s, 10, SEGMENTS) for i, s in subsets.items()})
    head = HeadConfig(kind="actionness", embed_dim=8)
    config = RunConfig(
        videos=[],
        out=tmp_path / "run",
        annotations=truth,
        baseline=True,
        filters=("mean3", "linear"),
        published=True,
        sola=SolaConfig(steps=2, hidden=4, predictor_hidden=4, kernel_sizes=(3, 1), dilations=(1, 1), device="cpu"),
        train=TrainConfig(epochs=1, min_steps_per_epoch=2, head=head, device="cpu"),
        localize=LocalizeConfig(device="cpu"),
    )
    said: list[str] = []
    files = run_on_features(config, source, Stages(config.out / "run.json", said.append))
    assert list(files) == ["without SoLa", "after mean3", "after linear", "with SoLa as published", "with SoLa"]
    assert files["after mean3"] == config.out / "filters" / "mean3" / "evaluation.json"
    assert all(file.is_file() for file in files.values())
    linear = FeatureStore.open(config.out / "filters" / "linear" / "features")
    published = config_from_dict(FeatureStore.open(config.out / "published" / "enhanced").spec.sola["settings"])
    assert published == replace(preset("hacs"), device=published.device)
    assert len(linear.spec.sola["filter"]["taps"]) == 3  # as wide as the module
    assert any(line.startswith("sola: ") and "target" in line for line in said)
    again: list[str] = []
    run_on_features(config, source, Stages(config.out / "run.json", again.append))
    assert all("unchanged, skipped" in line for line in again)
    with pytest.raises(PipelineError, match="add --baseline"):
        replace(config, baseline=False)
    with pytest.raises(PipelineError, match="add --baseline"):
        replace(config, baseline=False, filters=())


def test_annotations_in_no_known_form_are_refused_before_any_video_is_looked_at(tmp_path):
    (tmp_path / "labels.txt").write_text("what\n")
    config = RunConfig(videos=[tmp_path / "none.mp4"], out=tmp_path / "run", annotations=tmp_path / "labels.txt")
    with pytest.raises(PipelineError, match=r"labels\.txt"):
        run(config, say=lambda line: None)
    assert not (tmp_path / "run" / "features").exists()

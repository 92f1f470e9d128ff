"""Which videos a head is trained and validated on, and the messages if there are none."""

import json
from dataclasses import replace

import numpy as np
import pytest

from pipeline.errors import PipelineError
from pipeline.heads.config import HeadConfig, TrainConfig
from pipeline.heads.presets import preset
from pipeline.stages.train import train
from tests.stores import annotate, make_store

TINY = TrainConfig(
    epochs=1,
    min_steps_per_epoch=1,
    device="cpu",
    head=HeadConfig(kind="actionness", embed_dim=8, stem_blocks=1, tower_layers=0),
)
THUMOS = {"train_subset": "validation", "validation_subset": "test"}


@pytest.fixture
def store(tmp_path):
    random = np.random.default_rng(0)
    return make_store(tmp_path / "store", {name: random.normal(size=(20, 4)).astype(np.float32) for name in "abc"})


def annotated(tmp_path, **videos):
    """Annotations of id=(subset, label), one segment of that label in each; no segment if the label is empty."""
    rows = {i: (subset, 10.0, [(2.0, 6.0, label)] if label else []) for i, (subset, label) in videos.items()}
    return annotate(tmp_path / "annotations.json", rows)


def test_the_subsets_can_be_named_as_thumos14_needs_it(tmp_path, store):
    file = annotated(tmp_path, a=("Validation", "x"), b=("Validation", "y"), c=("Test", "x"))
    summary = train(store, file, tmp_path / "model", replace(TINY, **THUMOS))
    assert (summary.training_videos, summary.validation_videos, summary.labels) == (2, 1, ("x", "y"))
    assert summary.notes == []
    for kind in ("anchor_free", "gtad", "actionness"):
        config = preset("thumos14", kind=kind)
        assert (config.train_subset, config.validation_subset) == ("validation", "test")


def test_classes_of_videos_without_features_are_not_learned(tmp_path, store):
    file = annotated(tmp_path, a=("training", "x"), gone=("training", "y"), b=("validation", "x"))
    assert train(store, file, tmp_path / "model", TINY).labels == ("x",)


@pytest.mark.parametrize(
    ("videos", "config", "says"),
    [
        ({"a": ("val", "x"), "b": ("test", "x")}, TINY, "is in subset 'training' of"),
        ({"a": ("val", "x"), "b": ("test", "x")}, TINY, "subsets there: val: 1 video, test: 1 video"),
        (
            {"a": ("training", ""), "b": ("validation", "x")},
            TINY,
            "no segments in the 1 video of subset 'training'",
        ),
        ({"a": ("training", "x")}, replace(TINY, validation_subset="train"), "must be two subsets"),
        ({"q": ("training", "x")}, TINY, "3 with features but not annotated (a, b, c)"),
    ],
)
def test_what_cannot_be_learned_from_is_said_in_one_line(tmp_path, store, videos, config, says):
    with pytest.raises(PipelineError) as error:
        train(store, annotated(tmp_path, **videos), tmp_path / "model", config)
    assert says in str(error.value)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize(("videos", "missing"), [({}, "features"), ({"b": ("validation", "")}, "segments")])
def test_without_anything_to_validate_on_the_last_epoch_is_kept_and_that_is_said(tmp_path, store, videos, missing):
    file = annotated(tmp_path, a=("training", "x"), **videos)
    summary = train(store, file, tmp_path / "model", TINY)
    assert summary.best_map is None
    assert any(note.startswith(f"no video of subset 'validation' has {missing}") for note in summary.notes)
    assert json.loads((tmp_path / "model" / "model.json").read_text())["training"]["validation_videos"] == 0

"""The choice of videos for validation, and where it is made by itself."""

import json
import random
from pathlib import Path

import pytest

from pipeline.annotations import read_annotations
from pipeline.annotations.splitting import split
from pipeline.errors import PipelineError
from tests.stores import annotate


def both_sides(labels: dict[str, set[str]], validation: tuple[str, ...]) -> set[str]:
    inside = {label for video in validation for label in labels[video]}
    outside = {label for video in labels.keys() - set(validation) for label in labels[video]}
    return inside & outside


def test_every_label_is_on_both_sides_of_a_hand_made_case():
    labels = {"a": {"x"}, "b": {"x", "y"}, "c": {"y"}, "d": {"x", "y"}, "e": {"x"}}
    chosen = split(labels, share=0.2)
    assert chosen.validation in (("b",), ("d",))  # the videos that hold both labels
    assert chosen.one_sided == ()
    assert chosen.text().endswith("every label is on both sides")


def test_a_label_of_one_video_stays_in_training_and_is_told():
    chosen = split({"a": {"rare", "x"}, "b": {"x"}, "c": {"x"}}, share=0.34)
    assert chosen.validation in (("b",), ("c",))
    assert chosen.one_sided == ("rare",)
    assert "labels on one side only: rare" in chosen.text()


@pytest.mark.parametrize("seed", range(20))
def test_random_sets_are_split_as_asked(seed):
    rng = random.Random(seed)
    labels = {f"v{i}": set(rng.sample("abcdef", rng.randint(0, 3))) for i in range(40)}
    chosen = split(labels, share=0.25, seed=seed)
    assert 10 <= len(chosen.validation) <= 20
    common = {label for label in "abcdef" if sum(label in found for found in labels.values()) >= 2}
    assert both_sides(labels, chosen.validation) == common
    assert split(dict(reversed(labels.items())), share=0.25, seed=seed) == chosen


def test_labels_are_spread_in_proportion():
    labels = {f"v{i:03d}": {"often"} if i % 4 else {"seldom"} for i in range(100)}
    chosen = split(labels, share=0.2)
    assert len(chosen.validation) == 20
    assert sum("seldom" in labels[video] for video in chosen.validation) == 5


@pytest.mark.parametrize("labels", [{}, {"a": {"x"}}, {"a": {"x"}, "b": {"y"}}])
def test_nothing_is_chosen_where_training_would_lose_a_label(labels):
    assert split(labels).validation == ()


def test_seeds_differ():
    labels = {f"v{i}": {"x"} for i in range(30)}
    assert len({split(labels, seed=seed).validation for seed in range(5)}) == 5


def plain(path: Path, subsets: dict[str, str]) -> Path:
    return annotate(path, {name: (subset, 9.0, [(1, 2, "run")]) for name, subset in subsets.items()})


@pytest.mark.parametrize("named", ["", "training"])
def test_a_file_without_validation_gets_one_wherever_it_is_in_use(tmp_path, named):
    path = plain(tmp_path / "a.json", dict.fromkeys("abcdefghij", named))
    for subsets in (("training", "validation"), ("val",)):
        annotations = read_annotations(path, subsets=subsets)
        assert annotations.subsets() == {"training": 8, "validation": 2}
        assert annotations.problems[0].startswith("no subset is named validation: 2 videos are for validation (")
    first, again = (read_annotations(path, subsets=subsets).videos for subsets in (("train", "val"), ("validation",)))
    assert first == again
    assert read_annotations(path).subsets() == {named: 10}


@pytest.mark.parametrize("subsets", [("validation", "test"), ("training",), ("testing",), (), None])
def test_nothing_is_chosen_for_other_subsets(tmp_path, subsets):
    path = plain(tmp_path / "a.json", {"a": "training", "b": "training", "c": "test"})
    assert read_annotations(path, subsets=subsets).subsets() == {"training": 2, "test": 1}


def test_videos_for_testing_are_not_taken(tmp_path):
    path = plain(tmp_path / "a.json", {"a": "training", "b": "training", "c": "test", "d": "test"})
    subsets = read_annotations(path, subsets=("training", "validation")).subsets()
    assert subsets == {"training": 1, "validation": 1, "test": 2}


def test_a_file_with_validation_keeps_it(tmp_path):
    path = plain(tmp_path / "a.json", {"a": "train", "b": "train", "c": "VAL"})
    annotations = read_annotations(path, subsets=("training", "validation"))
    assert annotations.subsets() == {"train": 2, "VAL": 1}
    assert annotations.problems == ()


def test_a_fault_in_a_file_without_subsets_is_an_error(tmp_path):
    path = plain(tmp_path / "a.json", dict.fromkeys("abcd", ""))
    value = json.loads(path.read_text())
    value["database"]["c"]["annotations"][0]["segment"] = [5, 2]
    path.write_text(json.dumps(value))
    with pytest.raises(PipelineError, match=r"video 'c', segment 0: .* ends before it starts"):
        read_annotations(path, subsets=("training", "validation"))

"""Class scores of whole videos, in the forms in which they are published."""

import json
import string

import numpy as np
import pytest

from pipeline.annotations.segments import Detection
from pipeline.detection.video_scores import name_proposals, read_video_scores, scores_for
from pipeline.errors import PipelineError

SCORES = {"a": {"run": 0.25, "sit": 0.5}, "b": {"run": 1.0, "sit": 0.0}}
ARRAY = np.array([[0.25, 0.5], [1.0, 0.0]], np.float32)


def write_array(path, array=ARRAY, *, videos="a\nb\n", labels="run\nsit\n"):
    np.save(path, array)
    for name, text in (("videos", videos), ("labels", labels)):
        if text is not None:
            path.with_suffix(f".{name}.txt").write_text(text)
    return path


def test_all_forms_say_the_same(tmp_path):
    (tmp_path / "plain.json").write_text(json.dumps(SCORES))
    rows = {"a": [0.25, 0.5], "b": [1, 0]}
    for name in ("class", "classes"):
        (tmp_path / f"{name}.json").write_text(json.dumps({"results": rows, name: ["run", "sit"]}))
        assert read_video_scores(tmp_path / f"{name}.json") == SCORES
    assert read_video_scores(tmp_path / "plain.json") == SCORES
    assert read_video_scores(write_array(tmp_path / "scores.v1.npy")) == SCORES
    assert (tmp_path / "scores.v1.videos.txt").is_file()


def test_untrimmednets_array_for_thumos14_needs_no_lists(tmp_path):
    array = np.zeros((1574, 101))
    array[0, 6] = 0.5  # BaseballPitch is the 7th class of UCF101
    array[1573, 96] = 0.25  # VolleyballSpiking the 97th
    array[3, 0] = 0.75  # ApplyEyeMakeup is not of THUMOS14's twenty
    scores = read_video_scores(write_array(tmp_path / "uNet_test.npy", array, videos=None, labels=None))
    assert len(scores) == 1574
    assert all(len(by_label) == 20 for by_label in scores.values())
    assert scores["video_test_0000001"]["BaseballPitch"] == 0.5
    assert scores["video_test_0001574"]["VolleyballSpiking"] == 0.25
    assert max(scores["video_test_0000004"].values()) == 0


def test_the_prefix_of_activitynet_is_no_obstacle():
    found = scores_for({"a": {"run": 1.0}, "v_b": {"run": 0.5}}, ["v_a", "b"])
    assert found == {"v_a": {"run": 1.0}, "b": {"run": 0.5}}
    with pytest.raises(PipelineError, match=r"1 of 2 .* none, for example c; there are scores for 1 video \(a\)"):
        scores_for({"a": {}}, ["a", "c"])


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[1]", "is of another form; accepted are"),
        ('{"a": [0.5]}', "is of another form; accepted are"),
        ('{"a": {"run": "high"}}', "must hold numbers"),
        ('{"a": {"run": -2.5}}', "'run' of video 'a' must be finite and >= 0 (a probability, not a logit), got -2.5"),
        ('{"a": {"run": NaN}}', "must be finite"),
        ('{"a": {"run": 1}, "a": {"run": 0}}', "has the key 'a' twice"),
        ('{"results": {"a": [0.1]}, "class": ["run", "sit"]}', "video 'a' must have 2 scores, got 1"),
        ('{"results": {"a": [0.1, 0.2]}, "class": ["run", "run"]}', "\"class\" has 'run' twice"),
        ('{"results": {"a": [0.1]}, "class": [3]}', '"class" must hold names'),
    ],
)
def test_json_of_another_form_gives_one_line_that_teaches(tmp_path, text, says):
    (tmp_path / "scores.json").write_text(text)
    with pytest.raises(PipelineError) as error:
        read_video_scores(tmp_path / "scores.json")
    assert says in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("array", "lists", "says"),
    [
        (ARRAY, {"videos": None}, "scores.npy needs scores.videos.txt beside it, 2 lines"),
        (ARRAY, {"labels": None}, "scores.npy needs scores.labels.txt beside it, 2 lines"),
        (ARRAY, {"videos": "a\n"}, "scores.videos.txt must have 2 lines, as many as scores.npy has, got 1"),
        (ARRAY, {"videos": "a\na\n"}, "has 'a' twice"),
        (ARRAY, {"labels": "run\n\n"}, "must hold names, none of them empty"),
        (ARRAY - 1, {}, "'run' of video 'a' must be finite and >= 0"),
        (ARRAY[0], {}, "must be an array of numbers [videos, classes], got [2] of float32"),
        (np.array([list(string.ascii_letters)]), {}, "must be an array of numbers"),
        (np.array([{"a": 1}], dtype=object), {}, "Python objects"),
    ],
)
def test_an_array_of_another_form_gives_one_line_that_teaches(tmp_path, array, lists, says):
    with pytest.raises(PipelineError) as error:
        read_video_scores(write_array(tmp_path / "scores.npy", array, **lists))
    assert says in str(error.value)
    assert "\n" not in str(error.value)


def test_a_file_that_is_absent_or_of_another_kind_is_named(tmp_path):
    with pytest.raises(PipelineError, match=r"no file .*scores\.npy"):
        read_video_scores(tmp_path / "scores.npy")
    with pytest.raises(PipelineError, match=r"scores\.csv must be \.json or \.npy; accepted are"):
        read_video_scores(tmp_path / "scores.csv")


def test_proposals_take_the_best_video_classes_and_the_geometric_mean() -> None:
    proposals = [Detection((0.0, 1.0), "action", 0.25), Detection((2.0, 3.0), "action", 0.81)]
    named = name_proposals(proposals, {"run": 0.04, "sit": 0.64, "eat": 0.01}, top_classes=2)
    assert [(d.segment[0], d.label) for d in named] == [(2.0, "sit"), (0.0, "sit"), (2.0, "run"), (0.0, "run")]
    assert [d.score for d in named] == pytest.approx([0.72, 0.4, 0.18, 0.1])
    assert len(name_proposals(proposals, {"run": 0.5}, max_detections=1)) == 1
    with pytest.raises(PipelineError, match="class_scores must be >= 0"):
        name_proposals(proposals, {"run": -3.0})

"""Reading, checking, matching and writing annotations."""

import json
import os
from pathlib import Path

import pytest

from pipeline.annotations import (
    adopt_ids,
    canonical_subset,
    fit_to_durations,
    match,
    read_annotations,
    write_annotations,
)
from pipeline.annotations.segments import Segment
from pipeline.errors import PipelineError
from tests import ROOT

DATA = Path(os.environ.get("SOLA_DATA", ROOT / "../shared/data"))
real_data = pytest.mark.real_data


def write(folder: Path, database: object, **others: object) -> Path:
    path = folder / "annotations.json"
    path.write_text(json.dumps({"version": "1", "database": database, **others}))
    return path


def one_segment(folder: Path, segment: object, label: object = "run", **video: object) -> Path:
    entry = {"subset": "training", "duration": 20.0, **video}
    return write(folder, {"a": {**entry, "annotations": [{"segment": segment, "label": label}]}})


def test_every_field_of_the_activitynet_form_is_read(tmp_path):
    items = [{"segment": [5, 6.5], "label": "run"}, {"segment": [1.0, 2.0], "label": "jump"}]
    path = write(
        tmp_path,
        {
            "a": {"subset": "training", "duration": 10.0, "frame": 250, "annotations": items},
            "b": {"subset": "Validation", "duration": 4, "fps": 30, "annotations": []},
            "c": {"subset": "testing"},
        },
        taxonomy=[],
    )
    annotations = read_annotations(path)
    assert annotations.version == "1"
    assert annotations.labels == ("jump", "run")
    assert annotations.problems == ("the file's field 'taxonomy' is not kept",)
    a, b, c = annotations.videos.values()
    assert a.segments == (Segment((1.0, 2.0), "jump"), Segment((5.0, 6.5), "run"))
    assert (a.id, a.subset, a.duration, a.frames, a.fps) == ("a", "training", 10.0, 250, 25.0)
    assert (b.subset, b.duration, b.fps, b.segments) == ("Validation", 4.0, 30.0, ())
    assert (c.duration, c.fps, c.frames, c.segments) == (None, None, None, ())


def test_numbers_may_be_strings(tmp_path):
    video = read_annotations(one_segment(tmp_path, ["1.5", "2.25"], duration="20", fps="25", frame="500")).videos["a"]
    assert video.segments == (Segment((1.5, 2.25), "run"),)
    assert (video.duration, video.fps, video.frames) == (20.0, 25.0, 500)


@pytest.mark.parametrize(
    ("segment", "says"),
    [
        ([5, 2], "ends before it starts"),
        ([-3, 2], "starts before 0 by 3 s"),
        ([1, 23], "ends after the video's duration, 20 s, by 3 s"),
        ([1, float("nan")], "finite"),
        ([1, float("inf")], "finite"),
        ([1, "soon"], "'soon'"),
        ([1, True], "True"),
        ([1, None], "None"),
        ([1], "two numbers"),
        ([1, 2, 3], "two numbers"),
        (None, "two numbers"),
        ("12", "two numbers"),
    ],
)
def test_a_segment_that_cannot_be_mended_is_named(tmp_path, segment, says):
    with pytest.raises(PipelineError) as error:
        read_annotations(one_segment(tmp_path, segment))
    message = str(error.value)
    assert says in message
    assert "'a', segment 0" in message
    assert "\n" not in message


def test_the_error_counts_the_other_faults_of_the_file(tmp_path):
    items = [{"segment": [start, 1], "label": "run"} for start in (2, 3, 0)]
    path = write(tmp_path, {"a": {"annotations": items}, "b": {"annotations": [{"segment": [0, 1]}]}})
    with pytest.raises(PipelineError, match=r"segment 0: \[2.0, 1.0\] ends before .*\(and 2 more faults"):
        read_annotations(path)


@pytest.mark.parametrize("label", [None, "", "  ", 1.5, ["run"], True])
def test_a_segment_without_label_is_refused(tmp_path, label):
    with pytest.raises(PipelineError, match="label must be a name"):
        read_annotations(one_segment(tmp_path, [1, 2], label))


def test_small_overshoot_is_clipped_and_counted(tmp_path):
    annotations = read_annotations(one_segment(tmp_path, [-0.25, 20.5]))
    assert annotations.videos["a"].segments == (Segment((0.0, 20.0), "run"),)
    assert len(annotations.problems) == 1
    assert annotations.problems[0].startswith("1 segment clipped to its video (a [-0.25, 20.5] run")


def test_tolerance_is_half_a_second_or_one_percent_of_the_duration(tmp_path):
    with pytest.raises(PipelineError, match=r"by 0.51 s, more than the tolerance of 0.5 s"):
        read_annotations(one_segment(tmp_path, [1, 20.51]))
    assert read_annotations(one_segment(tmp_path, [1, 201.9], duration=200)).videos["a"].segments[0].segment[1] == 200
    with pytest.raises(PipelineError, match=r"by 2.1 s, more than the tolerance of 2 s"):
        read_annotations(one_segment(tmp_path, [1, 202.1], duration=200))
    wide = read_annotations(one_segment(tmp_path, [1, 25]), tolerance_seconds=5)
    assert wide.videos["a"].segments[0].segment == (1, 20)


def test_without_duration_the_end_is_not_limited(tmp_path):
    assert read_annotations(one_segment(tmp_path, [1, 1e4], duration=None)).videos["a"].segments[0].segment[1] == 1e4


def test_segments_of_no_length_are_left_out_and_counted(tmp_path):
    items = [{"segment": pair, "label": "run"} for pair in ([3, 3], [20.1, 20.2], [4, 5])]
    annotations = read_annotations(write(tmp_path, {"a": {"duration": 20, "annotations": items}}))
    assert annotations.videos["a"].segments == (Segment((4.0, 5.0), "run"),)
    assert any(line.startswith("2 segments of no length, left out") for line in annotations.problems)


@pytest.mark.parametrize("duration", [0, -4, "0"])
def test_a_duration_that_is_not_positive_counts_as_unknown(tmp_path, duration):
    annotations = read_annotations(one_segment(tmp_path, [1, 2], duration=duration))
    assert annotations.videos["a"].duration is None
    assert "1 video whose duration is not > 0" in annotations.problems[0]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "is not JSON"),
        ("[]", 'no "database"'),
        ('{"results": {}}', "these are detections"),
        ('{"database": []}', "must be an object of videos"),
        ('{"database": {"a": 3}}', "video 'a' must be an object"),
        ('{"database": {"a": {"annotations": {}}}}', "must be a list of objects"),
        ('{"database": {"a": {"annotations": [3]}}}', "must be a list of objects"),
        ('{"database": {"a": {"duration": "long"}}}', "duration must be finite"),
        ('{"database": {"a": {"subset": 3}}}', "subset must be a name"),
        ('{"database": {"a": {}, "b": {}, "a": {}}}', "has the key 'a' twice in one object; keep one"),
        ("[" * 100_000, "is not JSON"),
    ],
)
def test_a_file_of_another_form_gives_one_line(tmp_path, text, says):
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(PipelineError) as error:
        read_annotations(path)
    assert says in str(error.value)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_an_absent_file_is_named(tmp_path):
    with pytest.raises(PipelineError, match=r"no file .*nowhere.json"):
        read_annotations(tmp_path / "nowhere.json")


def test_ambiguous_segments_are_no_class(tmp_path):
    items = [{"segment": [1, 2], "label": "Ambiguous"}, {"segment": [3, 4], "label": "run"}]
    annotations = read_annotations(write(tmp_path, {"a": {"annotations": items}}))
    assert annotations.labels == ("run",)
    assert annotations.videos["a"].segments == (Segment((3.0, 4.0), "run"),)
    assert annotations.videos["a"].ambiguous == (Segment((1.0, 2.0), "Ambiguous"),)


def test_integer_label_ids_order_the_labels(tmp_path):
    items = [{"segment": [1, 2], "label": name, "label_id": i} for name, i in (("b", 0), ("a", 7), ("b", 0))]
    assert read_annotations(write(tmp_path, {"v": {"annotations": items}})).labels == ("b", "a")


@pytest.mark.parametrize("ids", [(0, 0, 0), (0, 1, 2), (0, 1, None), ("x", "y", "x")])
def test_label_ids_that_disagree_with_labels_are_reported_and_not_used(tmp_path, ids):
    items = [{"segment": [1, 2], "label": n, "label_id": i} for n, i in zip("bab", ids, strict=True)]
    annotations = read_annotations(write(tmp_path, {"v": {"annotations": items}}))
    assert annotations.labels == ("a", "b")
    assert any("label_id" in line for line in annotations.problems)


def test_repeated_segments_are_kept_and_reported(tmp_path):
    items = [{"segment": [1, 2], "label": "run"}] * 3
    annotations = read_annotations(write(tmp_path, {"a": {"annotations": items}}))
    assert len(annotations.videos["a"].segments) == 3
    assert annotations.problems == ("1 segment given more than once (a [1, 2] run × 3)",)


def test_written_annotations_read_back_equal(tmp_path):
    items = [
        {"segment": [0.1, 1 / 3], "label": "run", "label_id": 1},
        {"segment": [2, 3], "label": "Ambiguous", "label_id": 2},
        {"segment": [2.5, 3], "label": "ski", "label_id": 0},
    ]
    path = write(tmp_path, {"ä b": {"subset": "val", "duration": 9.5, "frame": 95, "annotations": items}, "c": {}})
    first = read_annotations(path)
    assert first.labels == ("ski", "run")
    write_annotations(tmp_path / "again.json", first)
    assert read_annotations(tmp_path / "again.json") == first
    written = json.loads((tmp_path / "again.json").read_text())["database"]["ä b"]["annotations"]
    assert [item.get("label_id") for item in written] == [1, None, 0]


def test_subsets_are_found_under_each_of_their_names(tmp_path):
    names = ("training", "Train", "VAL", "validation", "test", "extra")
    entry = {"annotations": [{"segment": [0, 1], "label": "run"}]}
    annotations = read_annotations(write(tmp_path, {n: {"subset": n, **entry} for n in names}))
    assert list(annotations.in_subset("train").videos) == ["training", "Train"]
    assert list(annotations.in_subset("Validation").videos) == ["VAL", "validation"]
    assert list(annotations.in_subset("TESTING", "Extra").videos) == ["test", "extra"]
    assert annotations.in_subset("test").labels == annotations.labels
    assert canonical_subset(" Val ") == "validation"
    with pytest.raises(PipelineError, match=r"no video of subset 'holdout'; the file has .*extra"):
        annotations.in_subset("holdout")


def test_match_names_what_only_one_side_has(tmp_path):
    annotations = read_annotations(write(tmp_path, {name: {} for name in "abcdefg"}))
    found = match(annotations, ["b", "z"])
    assert found.both == ("b",)
    assert found.only_in_annotations == ("a", "c", "d", "e", "f", "g")
    assert found.only_in_store == ("z",)
    assert found.message() == (
        "1 video has annotations and features; 6 annotated without features (a, c, d, …); "
        "1 with features but not annotated (z)"
    )
    assert match(annotations, "abcdefg").message() == "7 videos have annotations and features"


def test_ids_that_differ_by_the_prefix_are_adopted(tmp_path):
    annotations = read_annotations(write(tmp_path, {"x": {}, "v_y": {}, "z": {}, "v_w": {}}))
    adopted = adopt_ids(annotations, ["v_x", "y", "z", "v_z"])
    assert list(adopted.videos) == ["v_x", "y", "z", "v_w"]
    assert adopted.videos["v_x"].id == "v_x"
    assert adopted.problems[-1].startswith("2 videos use the store's id")
    assert adopt_ids(annotations, ["x"]) is annotations
    both = read_annotations(write(tmp_path, {"x": {}, "v_x": {}}))
    with pytest.raises(PipelineError, match="'v_x' and 'x' are both the video 'x'"):
        adopt_ids(both, ["x"])


def test_durations_of_the_videos_replace_those_of_the_file(tmp_path):
    annotations = read_annotations(one_segment(tmp_path, [18.0, 20.0]))
    fitted = fit_to_durations(annotations, {"a": 19.6, "other": 3.0})
    assert fitted.videos["a"].duration == 19.6
    assert fitted.videos["a"].segments == (Segment((18.0, 19.6), "run"),)
    assert "clipped" in fitted.problems[0]
    with pytest.raises(
        PipelineError, match=r"video 'a': \[18.0, 20.0\] ends after the video's duration, 10 s, by 10 s"
    ):
        fit_to_durations(annotations, {"a": 10.0})
    assert fit_to_durations(annotations, {}).videos == annotations.videos


@real_data
def test_thumos14_is_read(tmp_path):
    path = DATA / "annotations/thumos14_gt.json"
    if not path.exists():
        pytest.skip("no real data")
    annotations = read_annotations(path)
    raw = json.loads(path.read_text())["database"]
    assert len(annotations.videos) == 410
    assert sum(len(v.segments) for v in annotations.videos.values()) == sum(len(e["annotations"]) for e in raw.values())
    assert annotations.subsets() == {"test": 210, "train": 200}
    assert len(annotations.in_subset("testing").videos) == 210
    assert len(annotations.labels) == 20
    assert annotations.videos["video_test_0000896"].segments[0] == Segment((18.6, 24.8), "HighJump")
    write_annotations(tmp_path / "again.json", annotations)
    assert read_annotations(tmp_path / "again.json").videos == annotations.videos


@real_data
def test_fall_topdown_is_read():
    path = DATA / "fall_topdown/annotations.json"
    if not path.exists():
        pytest.skip("no real data")
    annotations = read_annotations(path)
    assert annotations.subsets() == {"training": 9, "validation": 3}
    assert sum(len(video.segments) for video in annotations.videos.values()) == 159
    assert len(annotations.labels) == 9
    assert all(video.fps == 25.0 for video in annotations.videos.values())

"""Annotation files of other projects, and the summary of a file."""

import json
import os
from pathlib import Path

import pytest

from pipeline.annotations import read_annotations, summary, write_annotations
from pipeline.annotations.segments import Segment
from pipeline.errors import PipelineError
from tests import ROOT

DATA = Path(os.environ.get("SOLA_DATA", ROOT / "../shared/data"))
real_data = pytest.mark.real_data


def write(path: Path, value: object) -> Path:
    path.write_text(json.dumps(value))
    return path


def thumos_folder(folder: Path) -> Path:
    (folder / "HighJump_val.txt").write_text(
        "video_validation_0000001  1.5 3.0\nvideo_validation_0000001  10.0 12.5\n\n"
    )
    (folder / "HighJump_test.txt").write_text("video_test_0000004 0.3 2.0\n")
    (folder / "Clean_And_Jerk_val.txt").write_text("video_validation_0000002 5.0 9.0\n")
    (folder / "Ambiguous_val.txt").write_text("video_validation_0000002 20.0 21.0\n")
    (folder / "classes.txt").write_text("1 HighJump\n")
    return folder


def test_thumos14_text_files_become_annotations(tmp_path):
    annotations = read_annotations(thumos_folder(tmp_path))
    assert annotations.dialect == "thumos14-text"
    assert annotations.labels == ("Clean_And_Jerk", "HighJump")
    assert annotations.subsets() == {"test": 1, "validation": 2}
    assert annotations.videos["video_validation_0000001"].segments == (
        Segment((1.5, 3.0), "HighJump"),
        Segment((10.0, 12.5), "HighJump"),
    )
    assert annotations.videos["video_validation_0000002"].ambiguous == (Segment((20.0, 21.0), "Ambiguous"),)
    assert "1 other text file is not read (classes.txt)" in annotations.problems
    assert any("no durations" in line for line in annotations.problems)


def test_one_thumos14_text_file_can_be_read_alone(tmp_path):
    assert read_annotations(thumos_folder(tmp_path) / "HighJump_test.txt").subsets() == {"test": 1}


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("HighJump_val.txt", "video_validation_0000001 1.5\n", "line 1: expected a video id, start and end"),
        ("HighJump_val.txt", "video_validation_0000001 5 2\n", "ends before it starts"),
        ("HighJump_val.txt", "video_validation_0000001 now later\n", "finite numbers"),
        ("HighJump_val.txt", "\xff", "cannot read"),
        ("notes.txt", "hello", "is in a known form"),
    ],
)
def test_a_bad_thumos14_text_file_gives_one_line(tmp_path, name, text, says):
    (tmp_path / name).write_bytes(text.encode("latin-1"))
    with pytest.raises(PipelineError) as error:
        read_annotations(tmp_path)
    assert says in str(error.value)
    assert "\n" not in str(error.value)


def test_a_thumos14_video_in_two_subsets_is_refused(tmp_path):
    (tmp_path / "A_val.txt").write_text("v 1 2\n")
    (tmp_path / "A_test.txt").write_text("v 1 2\n")
    with pytest.raises(PipelineError, match="video 'v' is in"):
        read_annotations(tmp_path)


def test_bsn_form_is_read_and_its_losses_are_named(tmp_path):
    entry = {"duration_second": 10.0, "duration_frame": 300, "feature_frame": 288}
    content = {
        "v_a": {**entry, "annotations": [{"segment": [1.0, 2.0], "label": "run"}]},
        "v_b": {**entry, "annotations": []},
    }
    path = write(tmp_path / "bsn.json", content)
    annotations = read_annotations(path)
    video = annotations.videos["v_a"]
    assert annotations.dialect == "bsn"
    assert (video.duration, video.frames, video.fps, video.subset) == (10.0, 300, 30.0, "")
    assert "2 videos have a field 'feature_frame', which is not kept" in annotations.problems
    assert any(line.startswith("2 videos have no subset") for line in annotations.problems)

    (tmp_path / "video_info_new.csv").write_text("video,numFrame,subset\nv_a,300,training\nv_b,300,validation\n")
    with_subsets = read_annotations(path)
    assert with_subsets.subsets() == {"training": 1, "validation": 1}
    assert not any("no subset" in line for line in with_subsets.problems)

    (tmp_path / "video_info_new.csv").write_text("video,subset\nv_a,training\nv_b,validation\nv_a,validation\n")
    with pytest.raises(PipelineError, match="puts 'v_a' into two subsets"):
        read_annotations(path)

    (tmp_path / "video_info_new.csv").write_text("name,split\nv_a,training\n")
    with pytest.raises(PipelineError, match="must have the columns video and subset"):
        read_annotations(path)


@pytest.mark.parametrize(
    ("name", "entry", "segment", "dialect"),
    [
        ("abc", {"duration": "12.5", "url": "u"}, {}, "hacs"),
        ("abc", {"duration": 12.5}, {}, "activitynet"),
        ("abc", {"duration": 12.5, "fps": 30}, {"label_id": 0}, "actionformer"),
        ("video_test_0000004", {"duration": 12.5}, {}, "thumos14"),
    ],
)
def test_relatives_of_the_activitynet_form_are_told_apart(tmp_path, name, entry, segment, dialect):
    item = {"segment": ["1.0", "2.5"], "label": "run", **segment}
    content = {"database": {name: {"subset": "training", **entry, "annotations": [item]}}}
    annotations = read_annotations(write(tmp_path / "a.json", content))
    assert annotations.dialect == dialect
    assert annotations.videos[name].duration == 12.5
    assert annotations.videos[name].segments == (Segment((1.0, 2.5), "run"),)
    assert ("1 video has a field 'url', which is not kept" in annotations.problems) == ("url" in entry)


def test_lost_fields_of_segments_are_named(tmp_path):
    item = {"segment": [1.0, 2.5], "label": "run", "segment(frames)": [30, 75]}
    annotations = read_annotations(write(tmp_path / "a.json", {"database": {"a": {"annotations": [item] * 2}}}))
    assert "2 segments have a field 'segment(frames)', which is not kept" in annotations.problems


def test_every_dialect_reads_back_equal_once_it_is_written(tmp_path):
    source = tmp_path / "text"
    source.mkdir()
    first = read_annotations(thumos_folder(source))
    write_annotations(tmp_path / "converted.json", first)
    second = read_annotations(tmp_path / "converted.json")
    assert second.videos == first.videos
    assert second.labels == first.labels


def test_summary_counts_what_a_file_holds(tmp_path):
    def video(subset: str, pairs: list, **others: object) -> dict:
        items = [{"segment": pair, "label": label} for pair, label in pairs]
        return {"subset": subset, "annotations": items, **others}

    database = {
        "a": video("training", [([0, 2], "run"), ([1, 5], "ski"), ([6, 7], "run")], duration=10),
        "b": video("training", [([0, 3], "run"), ([3, 6], "Ambiguous")], duration=26),
        "c": video("validation", []),
    }
    found = summary(read_annotations(write(tmp_path / "a.json", {"database": database})))
    assert (found.videos, found.without_segments, found.without_duration) == (3, 1, 1)
    assert (found.segments, found.ambiguous, found.overlapping) == (4, 1, 2)
    assert found.length_seconds[0] == 1 and found.length_seconds[3] == 2.5 and found.length_seconds[-1] == 4
    assert found.length_share[0] == 0.1 and found.length_share[-1] == 0.4
    training, validation = found.subsets
    assert (training.name, training.videos, training.segments, training.median_seconds) == ("training", 2, 4, 2.5)
    assert training.hours == pytest.approx(0.01)
    assert (validation.segments, validation.median_seconds, validation.hours) == (0, None, None)
    run, ski = found.classes
    assert (run.name, run.videos, run.segments, run.median_seconds) == ("run", 2, 3, 2.0)
    assert (ski.name, ski.videos, ski.segments, ski.median_seconds) == ("ski", 1, 1, 4.0)
    text = "\n".join(found.lines())
    assert "3 videos (1 without segments, 1 without duration)" in text
    assert "4 segments of 2 classes (2 overlap another in their video, 1 ambiguous)" in text
    assert json.loads(json.dumps(found.as_json()))["classes"][0]["name"] == "run"


def test_summary_of_a_file_without_segments_has_lines_too(tmp_path):
    found = summary(read_annotations(write(tmp_path / "a.json", {"database": {"a": {}}})))
    assert found.length_seconds == ()
    assert any("(none)" in line for line in found.lines())


@real_data
def test_activitynet_in_the_form_of_bsn_is_read():
    path = DATA / "annotations/anet13_anno_action.json"
    if not path.exists():
        pytest.skip("no real data")
    annotations = read_annotations(path)
    found = summary(annotations)
    raw = json.loads(path.read_text())
    total = sum(len(entry["annotations"]) for entry in raw.values())
    empty = sum(a["segment"][0] == a["segment"][1] for entry in raw.values() for a in entry["annotations"])
    assert found.videos == 19228
    assert found.segments == total - empty == 22140
    assert len(found.classes) == 200
    assert any(line.startswith("215 segments clipped") for line in annotations.problems)
    video = annotations.videos["v_QOlSCBRmfWY"]
    assert video.segments == (Segment((6.195294851794072, 77.73085420904837), "Ballet"),)


@real_data
def test_converted_thumos14_is_summed_up(tmp_path):
    path = DATA / "annotations/thumos14_gt.json"
    if not path.exists():
        pytest.skip("no real data")
    found = summary(read_annotations(path))
    assert found.dialect == "thumos14"
    assert [(group.name, group.videos) for group in found.subsets] == [("test", 210), ("train", 200)]
    assert found.segments == 6318

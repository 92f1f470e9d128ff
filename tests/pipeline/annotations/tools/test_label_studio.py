"""Exports of Label Studio, in the schema of its documentation (TimelineLabels, Labels, /guide/export)."""

import json

import pytest

from tests.pipeline.annotations.tools.reading import faults_of, read, told


def region(start: int, end: int, label: str, key: str = "timelinelabels") -> dict:
    return {
        "id": "x1",
        "type": "timelinelabels",
        "from_name": "videoLabels",
        "to_name": "video",
        "origin": "manual",
        "value": {"ranges": [{"start": start, "end": end}], key: [label]},
    }


def task(video: str, *results: dict, **data: object) -> dict:
    made = {"id": 5, "completed_by": 1, "was_cancelled": False, "ground_truth": False, "result": list(results)}
    return {"id": 1, "data": {"video": video, **data}, "annotations": [made], "predictions": []}


def rate(_: str) -> float:
    return 25.0


def test_frames_count_from_one_and_the_last_is_included(tmp_path):
    tasks = [
        task("/data/upload/3/1a2b3c4d-walk_01.mp4", region(1, 25, "sit"), region(51, 75, "walk")),
        task("/data/local-files/?d=set/day%201.mp4", region(11, 20, "sit"), fps=10),
    ]
    annotations = read(tmp_path / "p.json", json.dumps(tasks), fps_of=rate)
    assert told(annotations) == {"walk_01": [(0.0, 1.0, "sit"), (2.0, 3.0, "walk")], "day 1": [(1.0, 2.0, "sit")]}


def test_the_rate_of_a_tracked_object_serves_the_time_line(tmp_path):
    value = {"framesCount": 200, "duration": 10.0, "sequence": [{"frame": 1, "enabled": True}], "labels": ["man"]}
    tracked = {"id": "y", "type": "videorectangle", "value": value}
    annotations = read(tmp_path / "p.json", json.dumps([task("a.mp4", region(21, 40, "sit"), tracked)]))
    assert told(annotations) == {"a": [(1.0, 2.0, "sit")]}
    assert annotations.videos["a"].duration == 10.0
    assert annotations.problems == ("left out: 1 result other than stretches of time",)


def test_labels_of_sound_are_seconds(tmp_path):
    value = {"start": 1.5, "end": 2.25, "channel": 0, "labels": ["clap"]}
    sound = {"id": "y", "type": "labels", "original_length": 8.5, "to_name": "audio", "value": value}
    annotations = read(tmp_path / "p.json", json.dumps([task("https://host/a.mp4?x=1", sound)]))
    assert told(annotations) == {"a": [(1.5, 2.25, "clap")]}
    assert annotations.videos["a"].duration == 8.5


def test_json_min_is_read(tmp_path):
    field = {"ranges": [{"start": 26, "end": 50}], "timelinelabels": ["sit", "smile"]}
    item = {"video": "a.mp4", "id": 1, "videoLabels": [field], "annotator": 1, "annotation_id": 2, "lead_time": 3.5}
    annotations = read(tmp_path / "p.json", json.dumps([item]), fps_of=rate)
    assert told(annotations) == {"a": [(1.0, 2.0, "sit"), (1.0, 2.0, "smile")]}


def test_what_nobody_submitted_is_left_out(tmp_path):
    canceled, twice, predicted = (task(f"{name}.mp4", region(1, 25, "sit")) for name in "abc")
    canceled["annotations"][0]["was_cancelled"] = True
    twice["annotations"].append({"id": 6, "result": [region(1, 25, "other")]})
    predicted |= {"annotations": [], "predictions": [{"result": [region(1, 25, "sit")]}]}
    annotations = read(tmp_path / "p.json", json.dumps([canceled, twice, predicted]), fps_of=rate)
    assert told(annotations) == {"a": [], "b": [(0.0, 1.0, "sit")], "c": []}
    assert set(annotations.problems) == {
        "left out: 2 tasks that nobody has annotated",
        "left out: 1 further annotation of the same task",
    }


@pytest.mark.parametrize(
    ("made", "where"),
    [
        (task("a.mp4", region(9, 2, "sit"), fps=25), "0/annotations/0/result/0/value/ranges/0"),
        (task("a.mp4", region("x", 2, "sit"), fps=25), "0/annotations/0/result/0/value/ranges/0"),
        (task("a.mp4", region(1, 2, ""), fps=25), "0/annotations/0/result/0/value/ranges/0"),
        ({"id": 1, "data": {"text": "hello"}, "annotations": []}, "0"),
        ({"id": 1, "data": {"video": "a.mp4"}, "annotations": 5}, "0/annotations"),
    ],
)
def test_faults_are_told_by_their_place(tmp_path, made, where):
    (line,) = faults_of(tmp_path / "p.json", json.dumps([made]))
    assert line.startswith(f"{where}: ")

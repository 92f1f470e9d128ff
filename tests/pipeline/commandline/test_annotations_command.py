"""The command `annotations`, and labels of tools given to other commands."""

import json

import numpy as np

from pipeline.annotations.detections import write_detections
from pipeline.annotations.segments import Detection
from tests.stores import make_store

TABLE = "video;start;end;label\n" + "".join(f"v{i}.mp4;{i};{i + 1};run\nv{i}.mp4;0:08;0:09,5;jump\n" for i in range(5))
SMALL = [
    "--epochs",
    "1",
    "--min-steps-per-epoch",
    "2",
    "--head.embed-dim",
    "8",
    "--head.levels",
    "2",
    "--device",
    "cpu",
]


def test_a_table_is_summed_up_split_and_written(command, tmp_path):
    (tmp_path / "t.csv").write_text(TABLE)
    code, out, err = command("annotations", tmp_path / "t.csv", "--validation", 0.2, "--out", tmp_path / "a.json")
    assert code == 0
    assert "10 segments of 2 classes" in out
    assert out.splitlines()[-1] == f"written: {tmp_path / 'a.json'}"
    assert "note: 1 video is for validation (" in err
    subsets = [video["subset"] for video in json.loads((tmp_path / "a.json").read_text())["database"].values()]
    assert sorted(subsets) == ["training"] * 4 + ["validation"]


def test_faults_are_listed_and_nothing_is_written(command, tmp_path):
    (tmp_path / "t.csv").write_text(TABLE + "v1.mp4;5;3;run\n" * 25)
    words = ("annotations", tmp_path / "t.csv", "--out", tmp_path / "a.json")
    code, out, err = command(*words)
    assert (code, out) == (2, "")
    lines = err.splitlines()
    assert len(lines) == 21
    assert lines[0].startswith("fault: line 12: video 'v1': [5.0, 3.0] ends before it starts")
    assert lines[-1].startswith("25 faults, of which 20 are shown; nothing is written")
    assert not (tmp_path / "a.json").exists()
    code, out, err = command(*words, "--skip-faults")
    assert code == 1
    assert "10 segments" in out
    assert "25 faults, of which 20 are shown; left out" in err


def test_the_tolerance_that_a_fault_names_is_an_option(command, tmp_path):
    (tmp_path / "a.json").write_text(
        '{"database": {"v": {"subset": "training", "duration": 5, "annotations": [{"segment": [1, 9], "label": "x"}]}}}'
    )
    words = ("annotations", tmp_path / "a.json", "--out", tmp_path / "b.json")
    code, _, err = command(*words)
    assert code == 2 and "allow more (--tolerance-seconds)" in err
    assert command(*words, "--tolerance-seconds", 4)[0] == 0
    database = json.loads((tmp_path / "b.json").read_text())["database"]
    assert database["v"]["annotations"][0]["segment"] == [1, 5]


def test_a_file_of_faults_alone_shows_the_faults(command, tmp_path):
    (tmp_path / "t.csv").write_text("video,start,end,label\nv,1,two,run\n")
    code, out, err = command("annotations", tmp_path / "t.csv")
    assert (code, out) == (2, "")
    assert "segment bounds must be finite numbers, got 'two'" in err
    assert err.endswith("1 fault; nothing is left without them\n")


def test_detections_are_written_for_a_tool(command, tmp_path):
    write_detections(tmp_path / "d.json", {"a": [Detection((0.0, 1.0), "run", 0.9), Detection((2.0, 3.0), "run", 0.1)]})
    words = ("annotations", tmp_path / "d.json", "--min-score", 0.3, "--out", tmp_path / "via.json", "--to", "via")
    code, out, _ = command(*words)
    assert (code, out) == (0, f"written: {tmp_path / 'via.json'}\n")
    assert len(json.loads((tmp_path / "via.json").read_text())["metadata"]) == 1


def test_a_head_is_trained_and_evaluated_on_labels_of_a_tool_without_subsets(command, tmp_path):
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "t.csv").write_text(TABLE)
    rows = np.random.default_rng(0).normal(size=(24, 4)).astype(np.float32)
    make_store(tmp_path / "store", {f"v{i}": rows for i in range(5)})
    given = ("--annotations", tmp_path / "labels")
    code, out, err = command("train", tmp_path / "store", *given, "--out", tmp_path / "model", *SMALL)
    assert code == 0
    assert "4 training and 1 validation video" in out
    chosen = "note: no subset is named validation: 1 video is for validation ("
    assert chosen in err
    code, out, _ = command("train", tmp_path / "store", *given, "--out", tmp_path / "model", *SMALL)
    assert "trained before, unchanged" in out
    detections = tmp_path / "d.json"
    assert command("localize", tmp_path / "store", "--model", tmp_path / "model", "--out", detections)[0] == 0
    code, out, err = command("evaluate", detections, *given)
    assert code == 0
    assert chosen in err + out
    (tmp_path / "labels" / "t.csv").write_text(TABLE.replace("0:08;", "0:07;"))
    code, out, _ = command("train", tmp_path / "store", *given, "--out", tmp_path / "model", *SMALL)
    assert "trained before" not in out

"""Reading and writing detections."""

import csv
import json

import numpy as np
import pytest

from pipeline.annotations.detections import read_detections, read_external_data, write_detections
from pipeline.annotations.segments import Detection
from pipeline.annotations.tools.writing import write_for_tool
from pipeline.errors import PipelineError


def test_the_file_is_an_activitynet_submission(tmp_path):
    path = tmp_path / "detections.json"
    found = {"a": [Detection((0, 1.23456789), "run", 0.25), Detection((2.0, 3.0), "jump", 0.5)], "b": []}
    write_detections(path, found, extra={"model": "m"})
    assert json.loads(path.read_text()) == {
        "version": "1.0",
        "results": {
            "a": [
                {"segment": [2.0, 3.0], "label": "jump", "score": 0.5},
                {"segment": [0.0, 1.234568], "label": "run", "score": 0.25},
            ],
            "b": [],
        },
        "external_data": {"model": "m"},
    }
    assert read_external_data(path) == {"model": "m"}


def test_written_detections_read_back_in_order_ties_as_given(tmp_path):
    items = [Detection((float(i), i + 1.0), f"c{i}", score) for i, score in enumerate((0.5, 0.9, 0.5, 0.0, 1.0))]
    write_detections(tmp_path / "d.json", {"a": items})
    assert read_detections(tmp_path / "d.json") == {"a": [items[i] for i in (4, 1, 0, 2, 3)]}


def test_numpy_scalars_are_written_and_keep_float32_precision(tmp_path):
    score = np.float32(0.12345679)
    write_detections(tmp_path / "d.json", {"a": [Detection((np.float32(1.5), np.float64(2.5)), "run", score)]})
    (read,) = read_detections(tmp_path / "d.json")["a"]
    assert read.segment == (1.5, 2.5)
    assert np.float32(read.score) == score


@pytest.mark.parametrize(
    ("detection", "says"),
    [
        (Detection((0, 1), "run", 1.5), r"score must be in \[0, 1\], got 1.5"),
        (Detection((0, 1), "run", -0.1), "score must be in"),
        (Detection((0, 1), "run", float("nan")), "score must be in .* got nan"),
        (Detection((2, 1), "run", 0.5), "ordered"),
        (Detection((0, float("inf")), "run", 0.5), "finite"),
        (Detection((float("nan"), 1), "run", 0.5), "finite"),
    ],
)
def test_detections_that_are_no_probabilities_or_segments_are_not_written(tmp_path, detection, says):
    with pytest.raises(PipelineError, match=says):
        write_detections(tmp_path / "d.json", {"a": [detection]})
    assert list(tmp_path.iterdir()) == []


def test_files_of_other_tools_may_hold_strings_and_any_finite_score(tmp_path):
    path = tmp_path / "d.json"
    items = [{"segment": ["1", "2.5"], "label": 7, "score": "12.5"}, {"segment": [0, 1], "label": "b", "score": 99}]
    path.write_text(json.dumps({"results": {"a": items}}))
    assert read_detections(path) == {"a": [Detection((0.0, 1.0), "b", 99.0), Detection((1.0, 2.5), "7", 12.5)]}
    assert read_external_data(path) == {}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "is not JSON"),
        ('{"results": {"a": [], "b": [], "a": []}}', "has the key 'a' twice in one object; keep one"),
        ("[]", 'no "results"'),
        ('{"database": {}}', 'no "results"'),
        ('{"results": {"a": {}}}', "video 'a' must have a list"),
        ('{"results": {"a": [3]}}', "video 'a', detection 0: must be an object"),
        ('{"results": {"a": [{"segment": [1], "label": "x", "score": 1}]}}', "two numbers"),
        ('{"results": {"a": [{"segment": [2, 1], "label": "x", "score": 1}]}}', "ends before it starts"),
        (
            '{"results": {"a": [{"segment": [1, NaN], "label": "x", "score": 1}]}}',
            "must be finite numbers, got nan",
        ),
        ('{"results": {"a": [{"segment": [1, 2], "score": 1}]}}', "label must be a name, got None"),
        ('{"results": {"a": [{"segment": [1, 2], "label": "x"}]}}', "score must be finite numbers, got None"),
        (
            '{"results": {"a": [{"segment": [1, 2], "label": "x", "score": "high"}]}}',
            "score must be finite numbers, got 'high'",
        ),
    ],
)
def test_a_file_that_is_no_submission_gives_one_line(tmp_path, text, says):
    path = tmp_path / "d.json"
    path.write_text(text)
    with pytest.raises(PipelineError) as error:
        read_detections(path)
    assert says in str(error.value)
    assert "\n" not in str(error.value)


def test_the_suffix_decides_between_a_table_and_the_submission(tmp_path):
    found = {"a,b": [Detection((1.0, 2.5), 'say "hi"\n[x]', 0.25), Detection((0.0, 1.0), "run", 0.5)], "c": []}
    write_for_tool(found, tmp_path / "d.CSV")
    with (tmp_path / "d.CSV").open(newline="") as file:
        lines = list(csv.reader(file))
    assert lines[0] == ["video", "start", "end", "label", "score"]
    assert lines[1:] == [["a,b", "0.0", "1.0", "run", "0.5"], ["a,b", "1.0", "2.5", 'say "hi"\n[x]', "0.25"]]
    assert list(tmp_path.iterdir()) == [tmp_path / "d.CSV"]
    write_detections(tmp_path / "d.json", found)
    assert list(read_detections(tmp_path / "d.json")) == ["a,b", "c"]

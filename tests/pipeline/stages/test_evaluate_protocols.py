"""What `evaluate` counts under each protocol, worked by hand on files."""

import json
from pathlib import Path

import pytest

from pipeline.metrics.config import EvaluateConfig
from pipeline.stages.evaluate import Evaluation, evaluate

PUBLISHED = ("activitynet", "actionformer", "opentad", "thumos")


def evaluated(tmp_path: Path, truth: dict, found: dict, protocol: str | None = None, **options: object) -> Evaluation:
    """Evaluate detections of class a against segments in videos of 100 s.

    Args:
        truth: id → (subset, segments); a segment's class is its third entry, or a.
        found: id → (start, end, score).
    """
    database = {
        video: {
            "subset": subset,
            "duration": 100.0,
            "annotations": [{"segment": list(s[:2]), "label": s[2] if len(s) == 3 else "a"} for s in segments],
        }
        for video, (subset, segments) in truth.items()
    }
    results = {
        video: [{"segment": [start, end], "label": "a", "score": score} for start, end, score in rows]
        for video, rows in found.items()
    }
    (tmp_path / "truth.json").write_text(json.dumps({"version": "1", "database": database}))
    (tmp_path / "found.json").write_text(json.dumps({"version": "1", "results": results, "external_data": {}}))
    given = {} if protocol is None else {"protocol": protocol}
    return evaluate(tmp_path / "found.json", tmp_path / "truth.json", EvaluateConfig(**given, **options))


def test_detections_of_videos_outside_the_subset_are_false_positives_in_published_code(tmp_path):
    truth = {"v": ("validation", [(0, 10)]), "t": ("training", [(0, 10)])}
    found = {"v": [(0, 10, 0.5)], "t": [(0, 10, 0.9)], "unheard_of": [(0, 10, 0.8)]}
    for protocol in PUBLISHED:
        result = evaluated(tmp_path, truth, found, protocol)
        # The hit is third in the ranking.
        assert result.results["activitynet"].average == pytest.approx(1 / 3)
        assert result.notes == [
            f"detections of 2 videos outside the subset are false positives, as in the code of {protocol}; "
            "--protocol sola leaves them out"
        ]
    result = evaluated(tmp_path, truth, found)
    assert result.results["activitynet"].average == 1
    assert result.notes == ["detections of 2 videos outside the subset are left out"]
    assert result.as_json()["protocol"] == "sola"
    assert "detections of videos outside the subset: left out and counted" in result.as_json()["rules"]


def test_ground_truth_of_no_length_is_missed_or_left_out_as_the_code_does(tmp_path):
    truth = {"v": ("validation", [(0, 10), (50, 50), (60, 60.0005)]), "w": ("validation", [(7, 7, "b")])}
    found = {"v": [(0, 10, 0.9), (60, 60.0005, 0.8)]}
    results = {p: evaluated(tmp_path, truth, found, p).results["activitynet"] for p in (None, *PUBLISHED)}
    # Class a: two of three are found; class b, with one segment of no length, is missed.
    for protocol in ("activitynet", "thumos"):
        assert results[protocol].labels == ("a", "b")
        assert results[protocol].average == pytest.approx((2 / 3 + 0) / 2)
    # Without segments of no length there is one class, found completely; actionformer leaves the one of 0.5 ms out too.
    for protocol in (None, "opentad", "actionformer"):
        assert results[protocol].labels == ("a",)
        assert results[protocol].average == 1
    assert results["actionformer"].segments.tolist() == [1]
    notes = evaluated(tmp_path, truth, found, "actionformer").notes
    assert "left out as too short for the protocol: 3 segments of the ground truth" in notes
    assert any("2 segments of no length, left out" in note for note in evaluated(tmp_path, truth, found).notes)


def test_published_code_takes_ground_truth_as_the_file_has_it(tmp_path):
    # [90, 100.4] in a video of 100 s; against [90, 100] its tIoU is 10 / 10.4.
    truth, found = {"v": ("validation", [(90, 100.4)])}, {"v": [(90, 100, 0.9)]}
    for protocol in PUBLISHED:
        own = evaluated(tmp_path, truth, found, protocol, tious=(0.97,)).results["own"]
        assert own.average == 0
        assert evaluated(tmp_path, truth, found, protocol, tious=(0.96,)).results["own"].average == 1
    clipped = evaluated(tmp_path, truth, found, tious=(1.0,))
    assert clipped.results["own"].average == 1
    assert clipped.notes == ["1 segment clipped to its video (v [90, 100.4] a)"]


def test_of_two_that_repeat_the_first_in_the_file_is_kept(tmp_path):
    # They are 0.4 ms apart and 1 s long: a tIoU of 0.9992.
    truth = {"v": ("validation", [(10.0004, 11.0004), (10, 11)])}
    for protocol in ("opentad", "actionformer"):
        result = evaluated(tmp_path, truth, {"v": [(10, 11, 0.9)]}, protocol, tious=(0.9995,)).results["own"]
        assert result.segments.tolist() == [1] and result.average == 0
        result = evaluated(tmp_path, truth, {"v": [(10.0004, 11.0004, 0.9)]}, protocol, tious=(0.9995,)).results["own"]
        assert result.average == 1


def test_average_recall_is_that_of_the_protocol(tmp_path):
    truth = {"v": ("validation", [(0, 10), (0, 10.0005)]), "empty": ("validation", [])}
    found = {"v": [(40, 50, 0.9), (0, 10, 0.8)], "empty": [(0, 10, 0.7)] * 2, "other": [(0, 10, 0.6)] * 296}
    # Published: 300 proposals on one video with segments, for an average of 100: a third of its two, none.
    for protocol in PUBLISHED:
        assert evaluated(tmp_path, truth, found, protocol, diagnose=True).recall.average[-1] == 0
    # Without the proposals of the other video it takes both of its own.
    recall = evaluated(tmp_path, truth, found, diagnose=True).recall
    assert recall.average[:2].tolist() == [0, 1]


def test_blocked_videos_are_left_out_inside_the_subset_and_outside(tmp_path):
    (tmp_path / "blocked.txt").write_text("bad\nworse\n")
    truth = {"v": ("validation", [(0, 10)]), "bad": ("validation", [(0, 10)]), "worse": ("training", [])}
    found = {"v": [(0, 10, 0.5)], "bad": [(30, 40, 0.9)], "worse": [(30, 40, 0.8)]}
    result = evaluated(tmp_path, truth, found, "activitynet", blocked_videos=tmp_path / "blocked.txt")
    assert result.results["activitynet"].average == 1
    assert result.notes == ["1 blocked video is left out"]


def test_ambiguous_segments_that_a_protocol_does_not_know_are_left_out_and_named(tmp_path):
    truth, found = {"v": ("validation", [(0, 10), (20, 30, "Ambiguous")])}, {"v": [(0, 10, 0.5), (20, 30, 0.9)]}
    strict = evaluated(tmp_path, truth, found)
    assert strict.results["activitynet"].average == 0.5
    assert strict.notes == ["left out: 1 segment labeled Ambiguous (--protocol thumos takes them into account)"]
    forgiving = evaluated(tmp_path, truth, found, "thumos")
    assert forgiving.results["activitynet"].average == 1 and forgiving.notes == []

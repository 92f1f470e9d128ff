"""The bootstrap over videos, beside evaluations of really repeated videos; the score of the best F1, worked by hand."""

import numpy as np
import pytest

from pipeline.annotations.segments import Detection, Segment
from pipeline.metrics.found_segments import found_segments
from pipeline.metrics.map import evaluate_map
from pipeline.metrics.resampling import resampled_maps

TIOUS = (0.3, 0.5, 0.7)


def a_data_set(videos: int, seed: int = 3):
    rng = np.random.default_rng(seed)
    truth, found = {}, {}
    for number in range(videos):
        starts = np.sort(rng.uniform(0, 50, 3))
        rows = [Segment((s, s + rng.uniform(2, 6)), rng.choice(["a", "b"])) for s in starts]
        noise = [Detection((s, s + 3.0), rng.choice(["a", "b"]), rng.random()) for s in rng.uniform(0, 50, 4)]
        near = [
            Detection((s.segment[0] + rng.normal(0, 1), s.segment[1] + rng.uniform(0, 2)), s.label, rng.random())
            for s in rows
        ]
        truth[f"v{number}"], found[f"v{number}"] = rows, [d for d in near + noise if d.segment[0] < d.segment[1]]
    return truth, found


def test_a_resample_is_the_evaluation_of_videos_that_are_really_repeated():
    truth, found = a_data_set(5)
    result = resampled_maps(truth, {"way": found}, tious=TIOUS, protocol="sola", resamples=6, seed=1)["way"]
    assert result.shape == (6, 3)
    rng = np.random.default_rng(1)
    for row in result:
        drawn = rng.integers(5, size=5)
        copies = [(f"copy{k}", f"v{number}") for k, number in enumerate(drawn)]
        repeated = {new: truth[old] for new, old in copies}
        expected = evaluate_map(repeated, {new: found[old] for new, old in copies}, tious=TIOUS, protocol="sola")
        np.testing.assert_allclose(row, expected.map, atol=1e-12)


def test_all_ways_see_the_same_videos():
    truth, found = a_data_set(6)
    both = resampled_maps(truth, {"one": found, "two": dict(found)}, tious=TIOUS, protocol="sola", resamples=20)
    np.testing.assert_array_equal(both["one"], both["two"])
    assert both["one"].std(axis=0).min() > 0


def test_the_deviation_of_independent_videos_falls_with_their_number():
    # Each video has one segment, found or not, each with probability 1/2, by detections of equal score: mAP is then
    # the share found when nothing else is detected, and its deviation sqrt(p (1 - p) / n).
    truth = {f"v{k:03}": [Segment((0.0, 2.0), "a")] for k in range(100)}
    found = {name: [Detection((0.0, 2.0), "a", 0.5)] for name in list(truth)[::2]}
    result = resampled_maps(truth, {"way": found}, tious=(0.5,), protocol="sola", resamples=400)["way"]
    assert result.mean() == pytest.approx(0.5, abs=0.02)
    assert result.std() == pytest.approx(0.05, rel=0.15)


def test_found_segments_at_the_best_f1():
    truth = {"v": [Segment((0.0, 2.0), "a"), Segment((4.0, 6.0), "a"), Segment((8.0, 9.0), "b")]}
    found = {
        "v": [
            Detection((0.0, 2.0), "a", 0.9),  # hit: F1 = 2 * 1 / (1 + 3)
            Detection((4.0, 6.0), "b", 0.8),  # wrong label: 2 / 5
            Detection((4.1, 6.0), "a", 0.7),  # hit: 4 / 6
            Detection((20.0, 21.0), "b", 0.6),  # background: 4 / 7
        ]
    }
    result = found_segments(truth, found)
    assert 0.6 < result.score <= 0.7
    assert result.f1 == pytest.approx(4 / 6)
    assert result.segments == {("v", 0.0, 2.0, "a"), ("v", 4.0, 6.0, "a")}


def test_where_nothing_is_right_nothing_is_found():
    truth = {"v": [Segment((0.0, 2.0), "a")]}
    for found in ([], [Detection((9.0, 10.0), "a", 0.5)]):
        assert found_segments(truth, {"v": found}).segments == frozenset()

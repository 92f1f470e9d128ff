"""The score of best F1: a case worked by hand, and random ones against F1 computed threshold by threshold."""

import numpy as np
import pytest

from pipeline.annotations.segments import Detection, Segment
from pipeline.metrics.best_score import best_score


def found(*scores: tuple[float, float, float, str]) -> list[Detection]:
    return [Detection((start, end), label, score) for score, start, end, label in scores]


TRUTH = {"v": [Segment((0, 10), "a"), Segment((20, 30), "a")], "w": [Segment((0, 10), "b"), Segment((50, 60), "b")]}
# By descending score: right, wrong (tIoU 0.25), right, wrong (matched already), wrong (another class), right. With four
# segments, F1 = 2 * right / (shown + 4): 2/5, 2/6, 4/7, 4/8, 4/9, 6/10. The best shows all six.
DETECTIONS = {
    "v": found((0.9, 0, 10, "a"), (0.8, 20, 22.5, "a"), (0.6, 1, 10, "a")),
    "w": found((0.7, 0, 8, "b"), (0.5, 50, 60, "a"), (0.4, 50, 65, "b")),
}


def test_a_case_worked_by_hand():
    best = best_score(TRUTH, DETECTIONS)
    assert (best.f1, best.precision, best.recall) == pytest.approx((6 / 10, 3 / 6, 3 / 4))
    assert best.score == 0.2  # halfway from 0.4 to nothing
    without_last = {**DETECTIONS, "w": DETECTIONS["w"][:2]}
    best = best_score(TRUTH, without_last)
    assert (best.f1, best.precision, best.recall) == pytest.approx((4 / 7, 2 / 3, 2 / 4))
    assert best.score == pytest.approx(0.65)  # halfway from 0.7 to 0.6
    strict = best_score(TRUTH, DETECTIONS, tiou=0.9)  # right are 0.9 alone, and 0.6 no more: 0.9 took its segment
    assert (strict.f1, strict.score) == pytest.approx((2 / 5, 0.85))


def test_equal_scores_are_shown_together():
    truth = {"v": [Segment((0, 10), "a"), Segment((90, 95), "a"), Segment((80, 85), "a")]}
    # The first of three alone would have F1 2/4; the three have 2/6, all four 4/7.
    tied = {"v": found((0.5, 0, 10, "a"), (0.5, 20, 30, "a"), (0.5, 40, 50, "a"), (0.3, 90, 95, "a"))}
    assert best_score(truth, tied).f1 == pytest.approx(4 / 7)
    assert best_score(truth, {"v": tied["v"][:3]}).f1 == pytest.approx(2 / 6)


def test_what_is_shown_without_ground_truth_is_wrong():
    truth = {"v": [Segment((0, 10), "a")]}
    detections = {"v": found((0.5, 0, 10, "a"), (0.9, 0, 10, "unknown")), "w": found((0.8, 0, 10, "a"))}
    assert best_score(truth, detections).precision == pytest.approx(1 / 3)


def test_there_is_none_if_nothing_is_right():
    assert best_score(TRUTH, {}) is None
    assert best_score(TRUTH, {"v": found((0.9, 40, 50, "a"))}) is None
    assert best_score({"v": []}, {"v": found((0.9, 40, 50, "a"))}) is None


def f1_from(truth, detections, score: float) -> float:
    """F1 of the detections from a score on, by definition: one loop over all, best first."""
    right = shown = 0
    for video, items in detections.items():
        free = list(truth[video])
        for item in sorted((d for d in items if d.score >= score), key=lambda d: -d.score):
            shown += 1
            overlaps = []
            for segment in free:
                (s, e), (a, b) = segment.segment, item.segment
                common = max(0.0, min(e, b) - max(s, a))
                overlaps.append(common / ((e - s) + (b - a) - common) if segment.label == item.label else 0.0)
            if overlaps and max(overlaps) >= 0.5:
                free.pop(int(np.argmax(overlaps)))
                right += 1
    return 2 * right / (shown + sum(map(len, truth.values())))


@pytest.mark.parametrize("seed", range(8))
def test_no_other_score_is_better(seed):
    rng = np.random.default_rng(seed)
    truth, detections = {}, {}
    for video in "vwx":
        starts = np.arange(5) * 20.0
        labels = rng.choice(["a", "b"], 5)
        truth[video] = [Segment((s, s + 10), label) for s, label in zip(starts, labels, strict=True)]
        moved = starts + rng.normal(0, 4, 5)
        scores = rng.integers(1, 12, 5) / 12  # with ties
        detections[video] = [
            Detection((s, s + 10), str(rng.choice(["a", "b"])), score) for s, score in zip(moved, scores, strict=True)
        ]
    best = best_score(truth, detections)
    scores = sorted({item.score for items in detections.values() for item in items})
    by_score = {score: f1_from(truth, detections, score) for score in scores}
    assert best.f1 == pytest.approx(max(by_score.values()))
    assert f1_from(truth, detections, best.score) == pytest.approx(best.f1)
    highest = max(score for score, f1 in by_score.items() if f1 == pytest.approx(best.f1))
    assert best.score <= highest
    assert not any(best.score <= score < highest for score in scores)

"""Average precision: worked by hand, and against a direct implementation written from the definition."""

import json
import os
import random
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.annotations.segments import Detection, Segment
from pipeline.errors import PipelineError
from pipeline.heads.candidates import tiou
from pipeline.metrics.map import average_precision, evaluate_map
from pipeline.metrics.matching import tiou_array
from pipeline.metrics.protocols import ACTIVITYNET_TIOUS, PROTOCOLS, THUMOS_TIOUS
from tests import ROOT


def truth(*segments: tuple[float, float], label: str = "a") -> list[Segment]:
    return [Segment(segment, label) for segment in segments]


def found(*rows: tuple[float, float, float], label: str = "a") -> list[Detection]:
    return [Detection((start, end), label, score) for start, end, score in rows]


def direct_tiou(a: tuple[float, float], b: tuple[float, float]) -> float:
    overlap = max(0.0, min(a[1], b[1]) - max(a[0], b[0]))
    union = (a[1] - a[0]) + (b[1] - b[0]) - overlap
    return overlap / union if union > 0 else 0.0


def test_tiou_of_arrays_and_of_tensors_is_the_same_bit_for_bit() -> None:
    segments = np.sort(np.random.default_rng(0).integers(0, 8, size=(60, 2)) / 7, axis=1)  # some are empty
    expected = [[direct_tiou(tuple(one), tuple(other)) for other in segments] for one in segments]
    assert tiou_array(segments[:, None], segments).tolist() == expected
    tensor = torch.from_numpy(segments)
    assert tiou(tensor[:, None], tensor).tolist() == expected


def direct_ap(ground_truth: dict, detections: dict, label: str, threshold: float) -> float:
    """One class at one threshold, detection by detection; area by the VOC 2011 recipe with sentinels."""
    free = {video: [s.segment for s in rows if s.label == label] for video, rows in ground_truth.items()}
    positives = sum(len(rows) for rows in free.values())
    ranked = [(-d.score, video, at, d) for video, rows in detections.items() for at, d in enumerate(rows)]
    ranked = sorted((row for row in ranked if row[3].label == label), key=lambda row: row[:3])
    recall, precision, hits = [0.0], [0.0], 0
    for rank, (_, video, _, detection) in enumerate(ranked, start=1):
        overlaps = [direct_tiou(detection.segment, segment) for segment in free.get(video, [])]
        if overlaps and max(overlaps) >= threshold:
            free[video].pop(overlaps.index(max(overlaps)))
            hits += 1
        recall.append(hits / positives)
        precision.append(hits / rank)
    recall.append(1.0)
    precision.append(0.0)
    for i in range(len(precision) - 2, -1, -1):
        precision[i] = max(precision[i], precision[i + 1])
    return sum((recall[i] - recall[i - 1]) * precision[i] for i in range(1, len(recall)))


def test_threshold_sets_are_the_benchmarks() -> None:
    assert np.allclose(ACTIVITYNET_TIOUS, np.linspace(0.5, 0.95, 10))
    assert np.allclose(THUMOS_TIOUS, [0.3, 0.4, 0.5, 0.6, 0.7])


def test_ap_worked_by_hand() -> None:
    # Hits at ranks 1, 3 and 5 of four segments: precision 1, 2/3, 3/5, each over a step of 1/4 in recall.
    positive = np.array([[True], [False], [True], [False], [True], [False]])
    assert average_precision(positive, 4)[0] == pytest.approx((1 + 2 / 3 + 3 / 5) / 4)
    # Misses first: precision 1/2 at rank 2 is lifted to 2/3 by the later rank 3.
    assert average_precision(np.array([[False], [True], [True]]), 2)[0] == pytest.approx(2 / 3)
    assert average_precision(np.zeros((0, 1), dtype=bool), 2)[0] == 0


def test_ground_truth_as_detections_gives_1() -> None:
    ground_truth = {"v": truth((0, 5), (10, 20)), "w": truth((3, 9), label="b")}
    detections = {v: [Detection(s.segment, s.label, 0.5) for s in rows] for v, rows in ground_truth.items()}
    result = evaluate_map(ground_truth, detections)
    assert result.average == 1 and (result.per_class == 1).all()
    assert result.labels == ("a", "b") and result.segments.tolist() == [2, 1] and result.detections == 3


def test_a_shift_of_known_size_passes_exactly_the_thresholds_that_arithmetic_says() -> None:
    # [0, 10] against [2, 12]: overlap 8, union 12, tIoU 2/3.
    result = evaluate_map({"v": truth((0, 10))}, {"v": found((2, 12, 0.9))})
    assert result.map.tolist() == [1, 1, 1, 1, 0, 0, 0, 0, 0, 0]
    assert result.average == pytest.approx(0.4)


def test_a_tiou_equal_to_the_threshold_is_a_match() -> None:
    assert evaluate_map({"v": truth((0, 2))}, {"v": found((0, 1, 1.0))}, tious=[0.5]).average == 1


def test_a_second_detection_of_one_segment_is_a_false_positive() -> None:
    result = evaluate_map({"v": truth((0, 10), (20, 30))}, {"v": found((0, 10, 0.9), (0, 10, 0.8), (20, 30, 0.7))})
    assert result.map[0] == pytest.approx((1 + 2 / 3) / 2)


def test_a_detection_falls_back_to_the_next_best_segment_that_is_free() -> None:
    ground_truth = {"v": truth((0, 10), (2, 12))}
    result = evaluate_map(ground_truth, {"v": found((0, 10, 0.9), (0, 10.5, 0.8))}, tious=[0.5, 0.9])
    assert result.map.tolist() == [1.0, 0.5]


def test_detections_on_videos_without_ground_truth_are_false_positives() -> None:
    result = evaluate_map({"v": truth((0, 10))}, {"elsewhere": found((0, 10, 0.9)), "v": found((0, 10, 0.5))})
    assert result.map[0] == pytest.approx(0.5)


def test_unknown_classes_are_ignored_and_counted() -> None:
    detections = {"v": [*found((0, 10, 0.9), label="zzz"), *found((0, 10, 0.5))]}
    result = evaluate_map({"v": truth((0, 10))}, detections)
    assert result.average == 1
    assert result.unknown_class_detections == 1 and result.detections == 1


def test_a_class_without_detections_counts_as_0() -> None:
    result = evaluate_map({"v": [*truth((0, 5)), *truth((0, 5), label="b")]}, {"v": found((0, 5, 1.0))})
    assert result.per_class[:, 0].tolist() == [1, 0] and result.average == 0.5


def test_no_detections_at_all_give_0() -> None:
    assert evaluate_map({"v": truth((0, 5))}, {}).average == 0


def test_ties_follow_sorted_video_ids_whatever_the_order_of_the_mapping() -> None:
    ground_truth = {"b": truth((0, 5)), "a": truth((0, 5))}
    hit, miss = found((0, 5, 0.5)), found((50, 60, 0.5))
    assert evaluate_map(ground_truth, {"b": miss, "a": hit}, tious=[0.5]).average == 0.5
    assert evaluate_map(ground_truth, {"a": hit, "b": miss}, tious=[0.5]).average == 0.5
    assert evaluate_map(ground_truth, {"a": miss, "b": hit}, tious=[0.5]).average == 0.25


def random_set(seed: int) -> tuple[dict, dict]:
    rng = random.Random(seed)
    labels = ["a", "b", "c"][: rng.randint(1, 3)]

    def segment() -> tuple[float, float]:  # whole numbers: many equal tIoUs and tIoUs at a threshold
        start = rng.randint(0, 20)
        return float(start), float(start + rng.randint(0, 10))

    videos = [f"v{i}" for i in range(rng.randint(1, 6))]
    ground_truth = {v: [Segment(segment(), rng.choice(labels)) for _ in range(rng.randint(0, 9))] for v in videos}
    ground_truth["always"] = [Segment((1.0, 4.0), "a")]
    detections = {}
    for video in [*rng.sample(videos, rng.randint(0, len(videos))), "elsewhere", "always"]:
        rows = [Detection(segment(), rng.choice([*labels, "unknown"]), rng.randint(0, 8) / 8) for _ in range(30)]
        detections[video] = rows[: rng.randint(0, 30)]
        detections[video] += detections[video][: rng.randint(0, 4)]  # exact duplicates
    return ground_truth, detections


@pytest.mark.parametrize("block", range(4))
def test_200_random_sets_equal_the_direct_implementation(block: int) -> None:
    thresholds = [0.25, 0.5, 0.6, 0.75, 1.0]
    for seed in range(block * 50, block * 50 + 50):
        ground_truth, detections = random_set(seed)
        result = evaluate_map(ground_truth, detections, tious=thresholds)
        want = [[direct_ap(ground_truth, detections, label, t) for t in thresholds] for label in result.labels]
        np.testing.assert_allclose(result.per_class, want, atol=1e-9, rtol=0)
        assert result.average == pytest.approx(np.mean(want), abs=1e-9)


def test_a_thousand_videos_of_a_hundred_detections_take_a_few_seconds() -> None:
    rng = np.random.default_rng(0)
    starts = rng.uniform(0, 100, size=(1000, 100))
    ground_truth = {f"v{i}": truth((10, 30), (50, 80), label=f"c{i % 50}") for i in range(1000)}
    detections = {
        f"v{i}": [Detection((float(s), float(s) + 20), f"c{i % 50}", float(s) / 100) for s in starts[i]]
        for i in range(1000)
    }
    began = time.perf_counter()
    evaluate_map(ground_truth, detections)
    assert time.perf_counter() - began < 15  # takes about 2 s


def test_counted_rows_alone_make_the_ranks() -> None:
    positive = np.array([[True], [False], [True]])
    counted = np.array([[True], [False], [True]])
    assert average_precision(positive, 2, counted=counted)[0] == 1
    assert average_precision(positive, 2)[0] == pytest.approx((1 + 2 / 3) / 2)


def test_duplicate_ground_truth_is_kept_or_removed_as_the_protocol_says() -> None:
    ground_truth = {"v": truth((0, 10), (0.0005, 10.001), (0.002, 10), (0, 10))}
    detections = {"v": found((0, 10, 0.9), (0.002, 10, 0.8))}
    kept = evaluate_map(ground_truth, detections, tious=[0.5])
    assert kept.segments.tolist() == [4] and kept.duplicates_removed == 0 and kept.average == 0.5
    for protocol in ("actionformer", "opentad"):
        removed = evaluate_map(ground_truth, detections, tious=[0.5], protocol=protocol)
        assert removed.segments.tolist() == [2] and removed.duplicates_removed == 2 and removed.average == 1
    other = {"v": [*truth((0, 10)), *truth((0, 10), label="b")]}
    assert evaluate_map(other, {}, protocol="opentad").duplicates_removed == 0


def test_blocked_videos_are_left_out_on_both_sides() -> None:
    ground_truth = {"v": truth((0, 10)), "bad": truth((0, 10))}
    detections = {"v": found((0, 10, 0.5)), "bad": found((40, 50, 0.9)), "other": []}
    result = evaluate_map(ground_truth, detections, blocked_videos=["bad", "unheard of"])
    assert result.average == 1 and result.videos_blocked == 1
    with pytest.raises(PipelineError, match="blocked_videos must be empty for protocol=actionformer, got 1"):
        evaluate_map(ground_truth, detections, protocol="actionformer", blocked_videos=["bad"])


def test_ambiguous_segments_are_neither_positives_nor_false_positives_for_thumos() -> None:
    ground_truth = {"v": [*truth((0, 10)), *truth((20, 30), label="Ambiguous")], "w": truth((0, 5))}
    detections = {"v": found((29, 35, 0.9), (0, 10, 0.8)), "w": found((29, 35, 0.7), (0, 5, 0.6))}
    forgiving = evaluate_map(ground_truth, detections, tious=[0.5], protocol="thumos")
    # The first detection overlaps an ambiguous segment; the same times in the other video do not.
    assert forgiving.labels == ("a",)
    assert forgiving.average == pytest.approx((1 + 2 / 3) / 2)
    strict = evaluate_map(ground_truth, detections, tious=[0.5])
    assert strict.labels == ("Ambiguous", "a")
    assert strict.per_class[1, 0] == pytest.approx((1 / 2 + 2 / 4) / 2)


def test_a_match_counts_even_where_an_ambiguous_segment_overlaps() -> None:
    ground_truth = {"v": [*truth((0, 10)), *truth((5, 15), label="Ambiguous")]}
    assert evaluate_map(ground_truth, {"v": found((0, 10, 0.9))}, protocol="thumos").average == 1


def test_each_protocol_brings_its_thresholds_and_states_its_rules() -> None:
    ground_truth = {"v": truth((0, 10))}
    for name, tious in (("activitynet", ACTIVITYNET_TIOUS), ("thumos", THUMOS_TIOUS)):
        result = evaluate_map(ground_truth, {}, protocol=name)
        assert result.tious == tious and result.protocol == name
        assert result.rules == PROTOCOLS[name].rules
    assert len({protocol.rules for protocol in PROTOCOLS.values()}) == len(PROTOCOLS)
    with pytest.raises(PipelineError, match=r"protocol must be one of sola, activitynet, .* got 'coco'"):
        evaluate_map(ground_truth, {}, protocol="coco")


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(PipelineError, match="ground_truth must have at least one segment"):
        evaluate_map({"v": []}, {})
    with pytest.raises(PipelineError, match="tious must be"):
        evaluate_map({"v": truth((0, 1))}, {}, tious=[0.0])
    with pytest.raises(PipelineError, match=r"score must be finite, got .* of video 'v'"):
        evaluate_map({"v": truth((0, 1))}, {"v": found((0, 1, float("nan")))})


def read_annotations(name: str) -> dict[str, list[Segment]]:
    """One of the published annotation files among the real data, whatever its dialect's outer layer."""
    path = Path(os.environ.get("SOLA_DATA", ROOT / "../shared/data")) / "annotations" / name
    if not path.exists():
        pytest.skip(f"{path} is not here")
    content = json.loads(path.read_text())
    return {
        video: [Segment((float(a["segment"][0]), float(a["segment"][1])), a["label"]) for a in entry["annotations"]]
        for video, entry in content.get("database", content).items()
    }


def _first_of_alike(rows: list[Detection]) -> list[Detection]:
    kept: list[Detection] = []
    for row in rows:
        if not any(row.label == k.label and np.allclose(row.segment, k.segment, rtol=0, atol=1e-3) for k in kept):
            kept.append(row)
    return kept


@pytest.mark.real_data
@pytest.mark.parametrize("name", ["thumos14_gt.json", "anet13_anno_action.json"])
def test_published_ground_truth_is_1_against_itself_and_falls_with_a_shift_as_arithmetic_says(name: str) -> None:
    ground_truth = read_annotations(name)
    # Apart from repeated and empty segments, which no detection can find twice or at all.
    ground_truth = {
        v: list(dict.fromkeys(s for s in rows if s.segment[1] > s.segment[0])) for v, rows in ground_truth.items()
    }

    def shifted(share: float) -> dict[str, list[Detection]]:
        return {
            video: [
                Detection((s.segment[0] + d, s.segment[1] + d), s.label, 1 / (1 + i))
                for i, s in enumerate(rows)
                for d in [share * (s.segment[1] - s.segment[0])]
            ]
            for video, rows in ground_truth.items()
        }

    for protocol in PROTOCOLS:
        found_again = shifted(0.0)
        if PROTOCOLS[protocol].removes_duplicates:  # else the second of two that are alike would be a false positive
            found_again = {video: _first_of_alike(rows) for video, rows in found_again.items()}
        assert evaluate_map(ground_truth, found_again, protocol=protocol).average == pytest.approx(1.0)
    # A shift by a quarter of each length leaves a tIoU of 0.75 / 1.25 = 0.6 with the segment itself.
    result = evaluate_map(ground_truth, shifted(0.25), tious=(0.5, 0.59, 0.61, 0.95))
    assert result.map[0] > 0.97 and result.map[1] > 0.97
    assert result.map[2] < 0.05 and result.map[3] == 0

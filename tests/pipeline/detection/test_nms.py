"""Suppression and voting against a plain loop written from the definitions."""

import math
import time

import pytest
import torch

from pipeline.detection.nms import suppress
from pipeline.errors import PipelineError
from pipeline.heads.candidates import Candidates
from pipeline.heads.config import PostConfig

METHODS = ("soft", "linear", "hard", "none")


def random_candidates(count: int, classes: int, seed: int, *, ties: bool = False) -> Candidates:
    generator = torch.Generator().manual_seed(seed)
    start = torch.rand(count, generator=generator, dtype=torch.float64) * 50
    length = torch.rand(count, generator=generator, dtype=torch.float64) * 20 + 0.01
    scores = torch.rand(count, generator=generator, dtype=torch.float64)
    if ties:
        start, length, scores = start.round(), length.round() + 1, (scores * 5).round() / 5
    labels = torch.randint(classes, (count,), generator=generator)
    return Candidates(torch.stack([start, start + length], dim=1), labels, scores)


def plain_tiou(a: list[float], b: list[float]) -> float:
    overlap = max(0.0, min(a[1], b[1]) - max(a[0], b[0]))
    union = a[1] - a[0] + b[1] - b[0] - overlap
    return overlap / union if union > 0 else 0.0


def plain_suppress(candidates: Candidates, config: PostConfig) -> list[tuple[float, float, int, float]]:
    rows = [
        {"segment": s, "label": k, "score": p, "first": p}
        for s, k, p in zip(
            candidates.segments.tolist(), candidates.labels.tolist(), candidates.scores.tolist(), strict=True
        )
        if p >= config.min_score
    ]
    if config.multiclass:
        rows.sort(key=lambda row: row["label"])
    everything, left, kept = list(rows), list(rows), []
    while left and len(kept) < config.max_detections:
        best = max(left, key=lambda row: row["score"])  # the first of equal scores
        if best["score"] < config.min_score:
            break
        left = [row for row in left if row is not best]
        kept.append(best)
        for row in list(left):
            if config.multiclass and row["label"] != best["label"]:
                continue
            overlap = plain_tiou(best["segment"], row["segment"])
            if config.nms == "soft":
                row["score"] *= math.exp(-(overlap**2) / config.sigma)
            elif overlap > config.nms_tiou and config.nms == "linear":
                row["score"] *= 1 - overlap
            elif overlap > config.nms_tiou and config.nms == "hard":
                left = [other for other in left if other is not row]
    result = []
    for best in kept:
        segment = best["segment"]
        if config.voting_tiou > 0:
            voters = [
                (plain_tiou(best["segment"], row["segment"]) * row["first"], row["segment"])
                for row in everything
                if (row["label"] == best["label"] or not config.multiclass)
                and plain_tiou(best["segment"], row["segment"]) >= config.voting_tiou
            ]
            total = sum(weight for weight, _ in voters)
            if total > 0:
                segment = [sum(weight * voter[side] for weight, voter in voters) / total for side in (0, 1)]
        result.append((segment[0], segment[1], best["label"], best["score"]))
    return result


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("multiclass", [True, False])
@pytest.mark.parametrize("ties", [True, False])
def test_every_method_equals_the_plain_loop(method: str, multiclass: bool, ties: bool) -> None:
    for seed, voting, most, least in ((0, 0.7, 200, 0.001), (1, 0.0, 15, 0.1), (2, 0.5, 200, 0.0), (3, 0.9, 40, 0.3)):
        candidates = random_candidates(120, 3, seed, ties=ties)
        config = PostConfig(nms=method, multiclass=multiclass, voting_tiou=voting, max_detections=most, min_score=least)
        got = suppress(candidates, config)
        rows = [
            (*s, k, p) for s, k, p in zip(got.segments.tolist(), got.labels.tolist(), got.scores.tolist(), strict=True)
        ]
        want = plain_suppress(candidates, config)
        assert len(rows) == len(want)
        for row, expected in zip(rows, want, strict=True):
            assert row == pytest.approx(expected, abs=1e-6)


def test_scores_fall_from_first_to_last() -> None:
    got = suppress(random_candidates(300, 4, 5), PostConfig())
    assert (got.scores.diff() <= 0).all()


def test_equal_scores_keep_the_lower_label_and_then_the_input_order() -> None:
    segments = torch.tensor([[0.0, 1], [10, 11], [20, 21], [30, 31]])
    candidates = Candidates(segments, torch.tensor([1, 0, 1, 0]), torch.full((4,), 0.5))
    got = suppress(candidates, PostConfig(voting_tiou=0.0))
    assert got.segments[:, 0].tolist() == [10, 30, 0, 20]


def test_other_classes_are_left_alone_unless_asked() -> None:
    candidates = Candidates(torch.tensor([[0.0, 10], [0, 10]]), torch.tensor([0, 1]), torch.tensor([0.9, 0.8]))
    assert len(suppress(candidates, PostConfig(nms="hard"))) == 2
    assert len(suppress(candidates, PostConfig(nms="hard", multiclass=False))) == 1


def test_nothing_in_gives_nothing_out() -> None:
    empty = Candidates(torch.zeros(0, 2), torch.zeros(0, dtype=torch.long), torch.zeros(0))
    low = Candidates(torch.tensor([[0.0, 1.0]]), torch.tensor([0]), torch.tensor([0.01]))
    for method in METHODS:
        assert len(suppress(empty, PostConfig(nms=method))) == 0
        assert len(suppress(low, PostConfig(nms=method, min_score=0.5))) == 0


def test_hard_suppression_with_min_score_0_returns_no_removed_candidate() -> None:
    candidates = Candidates(
        torch.tensor([[0.0, 10]] * 3), torch.zeros(3, dtype=torch.long), torch.tensor([0.5, 0.4, 0.0])
    )
    assert suppress(candidates, PostConfig(nms="hard", min_score=0.0)).scores.tolist() == [0.5]


@pytest.mark.parametrize("method", METHODS)
def test_a_score_that_equals_min_score_stays_in_single_precision_too(method: str) -> None:
    segments = torch.tensor([[0.0, 1.0], [5.0, 6.0]])
    known = Candidates(segments, torch.tensor([0, 0]), torch.tensor([0.7, 0.9]))  # 0.7 is 0.69999999 in float32
    assert len(suppress(known, PostConfig(nms=method, min_score=0.7)).scores) == 2


def test_a_narrow_sigma_removes_overlaps_and_keeps_the_rest_exactly() -> None:
    candidates = Candidates(
        torch.tensor([[0.0, 10], [1, 10], [50, 60]], dtype=torch.float64),
        torch.zeros(3, dtype=torch.long),
        torch.tensor([0.9, 0.8, 0.7], dtype=torch.float64),
    )
    got = suppress(candidates, PostConfig(sigma=1e-3, voting_tiou=0.0))
    assert got.scores.tolist() == [0.9, 0.7]


def test_ten_thousand_candidates_do_not_take_a_loop_over_candidates() -> None:
    candidates = random_candidates(10_000, 20, 0)
    began = time.perf_counter()
    suppress(candidates, PostConfig())
    assert time.perf_counter() - began < 4  # takes about 0.15 s


def test_settings_outside_their_range_are_refused() -> None:
    with pytest.raises(PipelineError, match=r"sigma must be > 0, got 0"):
        PostConfig(sigma=0)
    with pytest.raises(PipelineError, match=r"nms must be one of soft, linear, hard, none, got 'gaussian'"):
        PostConfig(nms="gaussian")

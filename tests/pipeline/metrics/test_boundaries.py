"""Boundary F1: one-to-one pairs within a tolerance, by hand and against all matchings."""

import itertools

import numpy as np
import pytest

from pipeline.annotations.segments import Segment
from pipeline.metrics.boundaries import boundaries_of, boundary_scores, count_matches


def test_a_boundary_is_paired_once():
    # Found 2.0 and 2.4 both lie near 2.2; only one of them can be right. 7.0 is 0.5 from 7.5: exactly so far counts.
    scores = boundary_scores(
        {"a": [2.0, 2.4, 7.0], "b": [1.0], "not annotated": [5.0]},
        {"a": [2.2, 7.5, 9.0], "b": [3.0], "nothing found": [4.0]},
        tolerance_seconds=0.5,
    )
    assert (scores.matched, scores.found, scores.annotated) == (2, 4, 5)
    assert scores.precision == pytest.approx(2 / 4)
    assert scores.recall == pytest.approx(2 / 5)
    assert scores.f1 == pytest.approx(2 * (1 / 2) * (2 / 5) / (1 / 2 + 2 / 5))


def test_a_distance_that_is_not_exact_in_binary_still_counts():
    assert count_matches([1.3], [0.8], 0.5) == 1


def test_nothing_found_scores_zero():
    scores = boundary_scores({}, {"a": [1.0]}, tolerance_seconds=1)
    assert (scores.precision, scores.recall, scores.f1) == (0, 0, 0)


def all_matchings(found, annotated, tolerance):
    """Return the greatest number of pairs, over all ways to pair."""
    short, long = sorted((found, annotated), key=len)
    ways = itertools.permutations(long, len(short))
    return max(sum(abs(a - b) <= tolerance for a, b in zip(short, way, strict=True)) for way in ways)


@pytest.mark.parametrize("seed", range(8))
def test_the_number_of_pairs_is_the_greatest_possible(seed):
    random = np.random.default_rng(seed)
    found, annotated = list(random.uniform(0, 6, 5)), list(random.uniform(0, 6, 6))
    assert count_matches(found, annotated, 0.7) == all_matchings(found, annotated, 0.7)


def test_ends_of_a_video_are_no_boundaries_and_near_ones_are_one():
    segments = [Segment((0, 2), "a"), Segment((2, 5), "b"), Segment((5.2, 9), "a"), Segment((8, 10), "c")]
    assert boundaries_of(segments, 10) == [2, 5, 5.2, 8, 9]
    assert boundaries_of(segments, 10, apart_seconds=0.5) == pytest.approx([2, 5.1, 8, 9])

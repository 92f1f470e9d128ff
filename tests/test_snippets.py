"""Snippet arithmetic against hand-worked cases."""

from fractions import Fraction

import pytest

from pipeline.errors import PipelineError
from pipeline.snippets import SnippetPlan, exact, tick_of


def plan(**changes) -> SnippetPlan:
    values = {"fps": 30, "window_frames": 64, "stride_frames": 16, "num_frames": 8, **changes}
    for name in ("fps", "window_frames", "stride_frames"):
        values[name] = exact(values[name])
    return SnippetPlan(**values)


def test_a_decimal_number_is_the_fraction_that_a_person_means():
    assert exact(0.1) == Fraction(1, 10)
    assert exact("30000/1001") == Fraction(30000, 1001)


def test_window_and_stride_in_seconds():
    assert plan().window_seconds == Fraction(64, 30)
    assert plan().stride_seconds == Fraction(16, 30)


@pytest.mark.parametrize(
    ("duration", "rows"),
    [
        (Fraction(1, 30), 1),  # one frame
        (Fraction(16, 30), 1),  # exactly one stride
        (Fraction(17, 30), 2),  # one frame more
        (Fraction(160, 30), 10),
        (Fraction(161, 30), 11),
        (Fraction(0), 1),  # a still: one row all the same
    ],
)
def test_padded_tail_gives_one_row_for_each_stride_begun(duration, rows):
    assert plan().count(duration) == rows


@pytest.mark.parametrize(
    ("duration", "rows"),
    [(Fraction(63, 30), 0), (Fraction(64, 30), 1), (Fraction(79, 30), 1), (Fraction(80, 30), 2)],
)
def test_dropped_tail_counts_whole_windows(duration, rows):
    assert plan(tail="drop").count(duration) == rows


def test_frames_come_from_the_middle_of_each_part_of_the_window():
    cells = [float(time * 30) for time in plan().frame_times(0)]
    assert cells == [4.5, 12.5, 20.5, 28.5, 36.5, 44.5, 52.5, 60.5]


def test_dense_snippets_take_every_cell():
    dense = plan(window_frames=16, num_frames=16, stride_frames=4)
    assert [float(time * 30) for time in dense.frame_times(2)] == [8.5 + k for k in range(16)]


def test_segments_of_a_temporal_segment_network_are_thirds():
    thirds = plan(window_frames=16, num_frames=3)
    # Parts of 5 1/3 cells have their middles at 2.67, 8 and 13.33.
    assert [float(time * 30) for time in thirds.frame_times(0)] == [2.5, 8.5, 13.5]


def test_snippets_that_overlap_ask_for_the_same_moments():
    assert set(plan().frame_times(0)[2:]) == set(plan().frame_times(1)[:6])


def test_a_tick_is_current_until_the_next_begins():
    time_base = Fraction(1, 1000)
    assert tick_of(Fraction(33, 1000), time_base) == 33
    assert tick_of(Fraction(3399, 100000), time_base) == 33
    assert tick_of(Fraction(-1, 10000), time_base) == -1


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"stride_frames": 0}, "stride_frames must be > 0, got 0"),
        ({"window_frames": -1}, "window_frames must be > 0, got -1"),
        ({"window_frames": 7}, "window must hold at least the encoder's 8 frames"),
        ({"tail": "keep"}, "tail must be 'pad' or 'drop', got 'keep'"),
    ],
)
def test_impossible_plans_are_refused_by_name_and_value(changes, words):
    with pytest.raises(PipelineError, match=words):
        plan(**changes)

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


def test_without_stack_and_flow_each_cell_is_a_moment_of_its_own():
    assert plan().cells == (4, 12, 20, 28, 36, 44, 52, 60)
    assert plan().pairs == tuple((k, k) for k in range(8))


def test_a_stack_surrounds_the_cell_that_would_be_taken_alone():
    stacks = plan(window_frames=16, num_frames=3, stack=5)
    assert stacks.cells == (0, 1, 2, 3, 4, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)  # around 2, 8 and 13
    assert plan(window_frames=16, num_frames=2, stack=4).cells == (2, 3, 4, 5, 10, 11, 12, 13)  # 4 and 12 are third


def test_flow_needs_the_cell_after_each_one_too():
    flow = plan(window_frames=16, num_frames=3, stack=2, flow=True)
    assert flow.cells == (1, 2, 7, 8, 12, 13)
    assert [float(time * 30) - 0.5 for time in flow.frame_times(0)] == [1, 2, 3, 7, 8, 9, 12, 13, 14]
    assert flow.pairs == ((0, 1), (1, 2), (3, 4), (4, 5), (6, 7), (7, 8))
    dense = plan(window_frames=16, num_frames=16, flow=True)
    assert len(dense.frame_times(0)) == 17
    assert dense.pairs == tuple((k, k + 1) for k in range(16))


def test_stacks_never_leave_the_window_nor_overlap():
    for window in ("15", "15.2", "16", "17.9", "31", "64"):
        cells = plan(window_frames=window, num_frames=3, stack=5).cells
        assert len(set(cells)) == 15
        assert list(cells) == sorted(cells)
        assert cells[0] >= 0 and cells[-1] < exact(window)
    with pytest.raises(PipelineError, match="must hold at least the encoder's 15 frames"):
        plan(window_frames=14, num_frames=3, stack=5)
    with pytest.raises(PipelineError, match="stack must be >= 1, got 0"):
        plan(stack=0)


def test_a_store_without_flow_says_nothing_of_it_and_one_with_flow_does():
    from pathlib import Path

    from pipeline.store.spec import StoreSpec, rows_as_json
    from pipeline.video.messages import pack_plan, unpack_plan

    assert not {"stack", "flow"} & rows_as_json(plan()).keys()
    for each in (plan(), plan(stack=5, flow=True)):
        spec = StoreSpec(
            channels=1, dtype="float32", plan=each, encoder={}, weights={}, precision="fp32", decoder="auto"
        )
        assert StoreSpec.from_json(spec.as_json(), where=Path("store.json")) == spec
        assert unpack_plan(pack_plan(each)) == each

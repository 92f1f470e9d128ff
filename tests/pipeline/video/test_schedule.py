"""Schedule against a slow direct reading of the plan."""

import random
from bisect import bisect_right
from dataclasses import replace
from fractions import Fraction

import pytest

from pipeline.snippets import SnippetPlan, tick_of
from pipeline.video.schedule import Schedule, most_frames_held

PLANS = [
    SnippetPlan(fps=Fraction(30), window_frames=Fraction(64), stride_frames=Fraction(16), num_frames=8),
    SnippetPlan(fps=Fraction(30), window_frames=Fraction(8), stride_frames=Fraction(1), num_frames=8),
    SnippetPlan(fps=Fraction(30000, 1001), window_frames=Fraction(5), stride_frames=Fraction(12), num_frames=2),
    SnippetPlan(fps=Fraction(7), window_frames=Fraction("4.3"), stride_frames=Fraction("0.7"), num_frames=3),
]
PLANS.append(replace(PLANS[-1], tail="drop"))


def run(plan: SnippetPlan, starts: list[int], last: int, base: Fraction) -> tuple[dict[int, list[int]], int]:
    """Return row → index of the frame that each of its times shows; and the most frames held at once."""
    schedule = Schedule(plan, base)
    kept: list[int] = []
    rows: dict[int, list[int]] = {}
    held = 0
    total = plan.count((starts[-1] + last) * base)
    for index, start in enumerate(starts):
        final = index + 1 == len(starts)
        oldest = schedule.oldest
        needed, complete = schedule.advance(start, None if final else starts[index + 1], rows=total if final else None)
        if needed:
            kept.append(index)
        held = max(held, len(kept) - oldest)
        for snippet in complete:
            assert min(snippet.ordinals) >= oldest
            rows[snippet.row] = [kept[ordinal] for ordinal in snippet.ordinals]
    assert list(rows) == list(range(total))
    return rows, held


@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize("base", [Fraction(1, 1000), Fraction(1, 90000), Fraction(1001, 30000), Fraction(1)])
def test_each_time_gets_the_frame_whose_interval_covers_it(plan, base):
    rng = random.Random(5)
    for _ in range(5):
        steps = [rng.randint(1, max(1, round(rng.choice([0.01, 0.04, 0.5, 3]) / base))) for _ in range(50)]
        starts = [sum(steps[:i]) for i in range(len(steps))]
        last = steps[-1]
        rows, held = run(plan, starts, last, base)
        for row, indexes in rows.items():
            times = plan.frame_times(row)
            assert indexes == [bisect_right(starts, tick_of(time, base)) - 1 for time in times]
        assert held <= most_frames_held(plan)


def test_the_bound_on_held_frames_is_reached_by_a_video_with_many_frames():
    for plan in PLANS[:3]:
        _, held = run(plan, list(range(2000)), 1, Fraction(1, 240))
        assert most_frames_held(plan) - 1 <= held <= most_frames_held(plan)


def test_hand_worked_bounds():
    # 8 frames, 8 cells apart, a new snippet every 16 cells: a window contains its own 8 times and no others.
    assert most_frames_held(PLANS[0]) == 8 + 1
    assert most_frames_held(PLANS[1]) == 8 + 1
    assert most_frames_held(PLANS[2]) == 2 + 1

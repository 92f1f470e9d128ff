"""The plan of a clip with a boundary, without pixels."""

from collections import Counter
from dataclasses import replace
from itertools import pairwise

import pytest

from pipeline.errors import PipelineError
from pipeline.pretraining.bsp_config import BspConfig
from pipeline.pretraining.bsp_lots import Source
from pipeline.pretraining.bsp_plan import TYPES, ClipPlanner, Window, weight_of_second

# Twelve clips: three classes of four videos in two groups; long enough for a step of 4 x 2 frames.
SOURCES = [
    Source(label, f"{label}{video // 2}", f"{label}{video}.mp4", 60 + 7 * video)
    for label in "abc"
    for video in range(4)
]
WINDOW = Window(frames=8, step=2)
PLAIN = BspConfig()
MANY = [(epoch, index) for epoch in range(3) for index in range(200)]


def planner(config=PLAIN, sources=SOURCES, window=WINDOW, seed=5):
    return ClipPlanner(sources, window, config, seed=seed, side="training")


def plans(type_, config=PLAIN, **given):
    maker = planner(config, **given)
    return [plan for plan in (maker.plan(*which) for which in MANY) if plan.type == type_]


def steps_of(plan):
    places = [frame[0].frame for frame in plan.frames]
    return [after - before for before, after in pairwise(places)]


def sources_of(plan):
    return [SOURCES[number] for number in dict.fromkeys(layer.source for frame in plan.frames for layer in frame)]


def test_same_speed_has_one_video_at_the_networks_step():
    for plan in plans("same_speed"):
        assert {(len(frame), frame[0].weight) for frame in plan.frames} == {(1, 1.0)}
        assert len(sources_of(plan)) == 1
        assert steps_of(plan) == [2] * 7
        assert plan.boundary is None


@pytest.mark.parametrize(("ratio", "before", "after"), [(0.5, 4, 2), (2.0, 2, 4), (4.0, 2, 8), (1.5, 2, 3)])
def test_different_speed_changes_its_step_at_exactly_the_boundary(ratio, before, after):
    found = plans("different_speed", BspConfig(speed_ratios=(ratio,)))
    for plan in found:
        assert steps_of(plan) == [before] * plan.boundary + [after] * (7 - plan.boundary)
        assert {(len(frame), frame[0].weight) for frame in plan.frames} == {(1, 1.0)}
        assert len(sources_of(plan)) == 1
    assert {plan.boundary for plan in found} == {2, 3, 4, 5, 6}  # the middle half of 8


def test_every_ratio_is_drawn():
    assert {(steps_of(plan)[0], steps_of(plan)[-1]) for plan in plans("different_speed")} == {(4, 2), (2, 4), (2, 8)}


@pytest.mark.parametrize("join", ["published", "cut", "blend"])
@pytest.mark.parametrize("type_", ["different_class", "same_class"])
def test_two_videos_are_joined_at_the_boundary(type_, join):
    blended = join == "blend" or (join == "published" and type_ == "different_class")
    for plan in plans(type_, BspConfig(join=join, blend_share=0.5)):  # 4 of 8 frames
        first, second = sources_of(plan)
        assert (first.label == second.label) == (type_ == "same_class")
        assert first.file != second.file
        assert first.group != second.group
        one, two = (next(n for n, source in enumerate(SOURCES) if source is which) for which in (first, second))
        for k, frame in enumerate(plan.frames):
            weights = {layer.source: layer.weight for layer in frame}
            assert sum(weights.values()) == pytest.approx(1)
            assert all(0 < weight <= 1 for weight in weights.values())
            line = [0, 0.25, 0.5, 0.75, 1][max(-2, min(2, k - plan.boundary)) + 2]  # by hand
            share = line if blended else float(k >= plan.boundary)
            assert weights.get(two, 0) == pytest.approx(share)
            assert weights.get(one, 0) == pytest.approx(1 - share)
        for number in (one, two):  # each video runs at the network's step
            shown = [layer.frame for frame in plan.frames for layer in frame if layer.source == number]
            assert [b - a for a, b in pairwise(shown)] == [2] * (len(shown) - 1)


def test_the_weight_of_the_second_video_is_a_line_through_one_half():
    assert [weight_of_second(d, 4.0) for d in (-5, -4, -2, 0, 1, 4, 9)] == [0, 0, 0.25, 0.5, 0.625, 1, 1]
    assert [weight_of_second(d, 0) for d in (-1, 0, 1)] == [0, 1, 1]


@pytest.mark.parametrize("join", ["published", "cut", "blend"])
def test_no_frame_lies_outside_its_video_and_every_start_occurs(join):
    """Videos that barely fit: a start or an end that is off by one is outside."""
    tight = [replace(source, frames=15) for source in SOURCES[:-4]]
    tight += [replace(source, frames=24) for source in SOURCES[-4:]]  # 6 * 4 + 1 * 2 + 1 = 27 for 1/2, too long
    maker = planner(BspConfig(join=join, speed_ratios=(2.0,), boundary_share=0.1), sources=tight)
    starts = Counter()
    for which in MANY:
        plan = maker.plan(*which)
        for layer in (layer for frame in plan.frames for layer in frame):
            assert 0 <= layer.frame < tight[layer.source].frames
        if plan.type == "different_speed":
            assert plan.boundary == 4
            starts[plan.frames[0][0].frame] += 1
    assert set(starts) == {0, 1, 2, 3}  # 4 * 2 + 3 * 4 + 1 = 21 of 24 frames


def test_types_are_equally_often():
    maker = planner()
    for start in (0, 4, 96):
        assert {maker.plan(1, start + k).type for k in range(4)} == set(TYPES)
    orders = {tuple(maker.plan(0, 4 * block + k).type for k in range(4)) for block in range(60)}
    assert len(orders) > 15  # of 24: the place in the block tells nothing


def test_classes_are_drawn_before_clips():
    """A class of one clip comes as often as a class of forty."""
    many = [Source("many", f"m{k}", f"m{k}.mp4", 60) for k in range(40)]
    few = [Source("few", "f", "f.mp4", 60)]
    maker = planner(sources=many + few)
    found = [maker.plan(0, index) for index in range(1200)]
    of_few = Counter(plan.frames[0][0].source == 40 for plan in found if plan.type.endswith("speed"))
    assert 0.42 < of_few[True] / of_few.total() < 0.58
    assert maker.unused == ("1 training class has one video, so no pair of one class",)
    assert all(plan.frames[0][0].source < 40 for plan in found if plan.type == "same_class")


def test_a_plan_is_a_function_of_seed_epoch_and_index():
    first, again = planner(), planner()
    backwards = {which: again.plan(*which) for which in reversed(MANY)}
    assert all(first.plan(*which) == backwards[which] for which in MANY)
    assert [first.plan(0, k) for k in range(20)] != [first.plan(1, k) for k in range(20)]
    assert [first.plan(0, k) for k in range(20)] != [planner(seed=6).plan(0, k) for k in range(20)]


def test_two_segments_of_one_video_are_never_a_pair():
    """Annotated segments: two classes in each of two videos, and a video that a list names with two groups."""
    sources = [Source(label, file, file, 60) for label in "ab" for file in ("x.mp4", "y.mp4")]
    sources += [Source("a", "other", "x.mp4", 60)]
    maker = planner(sources=sources)
    pairs = [maker.plan(*which) for which in MANY]
    pairs = [plan for plan in pairs if plan.type in ("different_class", "same_class")]
    for plan in pairs:
        numbers = {layer.source for frame in plan.frames for layer in frame}
        assert {sources[number].file for number in numbers} == {"x.mp4", "y.mp4"}


def test_both_types_of_one_video_draw_from_the_same_clips():
    """Else a long clip alone would say that its speed changes."""
    sources = [replace(source, frames=60 if place % 2 else 20) for place, source in enumerate(SOURCES)]
    maker = planner(sources=sources)
    for type_ in ("different_speed", "same_speed"):
        found = {plan.frames[0][0].source for plan in (maker.plan(*w) for w in MANY) if plan.type == type_}
        assert found == {1, 3, 5, 7, 9, 11}
    assert maker.unused == (
        "6 training clips are too short for speed ratio 0.5 (27 frames)",
        "6 training clips are too short for speed ratio 2 (25 frames)",
        "6 training clips are too short for speed ratio 4 (45 frames)",
    )


@pytest.mark.parametrize("frames", [3, 4, 5, 8, 13, 16, 32])
@pytest.mark.parametrize("share", [0.01, 0.5, 0.99])
def test_the_boundary_leaves_a_step_on_both_sides(frames, share):
    found = Window(frames, 2).boundaries(share)
    assert found
    assert all(1 <= boundary <= frames - 2 for boundary in found)
    assert all(abs(boundary - frames / 2) <= max(0.5, share * frames / 2) for boundary in found)


@pytest.mark.parametrize(
    ("sources", "config", "window", "message"),
    [
        (SOURCES, BspConfig(speed_ratios=(1.25,)), WINDOW, "1.25 does not with the network's step of 2"),
        ([replace(s, frames=14) for s in SOURCES], BspConfig(), WINDOW, "no training clip is as long .* 15 .*has 14"),
        (
            [replace(s, frames=20) for s in SOURCES],
            BspConfig(),
            WINDOW,
            "long enough for a change of speed.* 25 frames",
        ),
        (SOURCES[:4], BspConfig(), WINDOW, "two classes and two files"),
        (SOURCES[::4], BspConfig(), WINDOW, "no class has two training videos"),
        ([replace(s, group=s.label) for s in SOURCES], BspConfig(), WINDOW, "no class has two training videos"),
    ],
)
def test_what_cannot_be_planned_is_refused(sources, config, window, message):
    with pytest.raises(PipelineError, match=message):
        planner(config, sources=sources, window=window)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"boundary_share": 1.0}, "boundary_share must be > 0 and < 1, got 1"),
        ({"blend_share": 0.6}, "blend_share must be > 0 and <= 1 - boundary_share = 0.5"),
        ({"speed_ratios": (1.0,)}, "speed_ratios must be numbers > 0 other than 1"),
        ({"speed_ratios": ()}, "speed_ratios"),
        ({"test_clips": 3}, "test_clips must be >= 4, got 3"),
    ],
)
def test_settings_out_of_range_are_refused(given, message):
    with pytest.raises(PipelineError, match=message):
        BspConfig(**given)

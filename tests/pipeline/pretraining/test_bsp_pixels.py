"""The pixels of planned clips with a boundary, and what one look at them tells."""

import numpy as np
import pytest
import torch

from pipeline.pretraining.bsp_baseline import OneFeatureRule, explained, largest_difference, shares_right
from pipeline.pretraining.bsp_config import BspConfig
from pipeline.pretraining.bsp_lots import Source
from pipeline.pretraining.bsp_plan import TYPES, ClipPlan, ClipPlanner, Layer, Window
from pipeline.pretraining.bsp_render import render_clip

SOURCES = [Source("ab"[n // 3], f"g{n}", f"{n}.mp4", 50) for n in range(6)]
WINDOW = Window(frames=8, step=2)


def coded(source: int) -> np.ndarray:
    """Return frames of 2 x 3 pixels whose bytes are (video, frame, 4 * frame)."""
    frames = np.arange(50)
    code = np.stack([np.full(50, 30 * source), frames, 4 * frames], axis=-1).astype(np.uint8)
    return np.broadcast_to(code[:, None, None, :], (50, 2, 3, 3))


def untouched(number: int, pictures: torch.Tensor) -> torch.Tensor:
    return pictures


@pytest.mark.parametrize("join", ["published", "cut", "blend"])
def test_rendered_frames_are_those_of_the_plan(join):
    maker = ClipPlanner(SOURCES, WINDOW, BspConfig(join=join, blend_share=0.5), seed=0, side="training")
    for index in range(80):
        plan = maker.plan(0, index)
        shown = render_clip(plan, coded, untouched)
        assert (shown.shape, shown.dtype) == ((8, 2, 3, 3), torch.uint8)
        for picture, layers in zip(shown.numpy(), plan.frames, strict=True):
            code = sum(w * np.array([30 * source, frame, 4 * frame]) for source, frame, w in layers)
            assert np.abs(picture - code).max() <= 0.5 + 1e-4  # rounded to whole bytes


def test_both_parts_of_one_video_share_a_view_and_two_videos_have_their_own():
    seen = []

    def view(number: int, pictures: torch.Tensor) -> torch.Tensor:
        seen.append((number, pictures[:, 0, 0, :2].tolist()))
        return pictures[:, :1, :1] + 100 * number

    one = ClipPlan("different_speed", 1, tuple((Layer(3, place, 1.0),) for place in (4, 6, 10)))
    assert render_clip(one, coded, view)[:, 0, 0, 0].tolist() == [90, 90, 90]
    assert seen == [(0, [[90, 4], [90, 6], [90, 10]])]  # one call for all of its frames
    seen.clear()
    layers = ((Layer(2, 7, 1.0),), (Layer(2, 9, 0.5), Layer(4, 20, 0.5)), (Layer(4, 22, 1.0),))
    shown = render_clip(ClipPlan("different_class", 1, layers), coded, view)
    assert seen == [(0, [[60, 7], [60, 9]]), (1, [[120, 20], [120, 22]])]
    assert shown[:, 0, 0, 0].tolist() == [60, (60 + 220) // 2, 220]


def test_the_largest_difference_by_hand():
    pixels = torch.zeros(4, 1, 2, 3, dtype=torch.uint8)
    pixels[1:] += 10  # a step of 10 in each byte
    pixels[2:, 0, 0] += 120  # then one of 120 in half of the bytes; the bytes would wrap if subtracted as such
    pixels[3] = 0
    assert largest_difference(pixels[:3]) == 60.0
    assert largest_difference(pixels) == 70.0  # (130 + 10) / 2


def test_the_rule_of_one_number_by_hand():
    values = [1.0] * 10 + [2.0] * 10 + [3.0] * 10 + [9.0] * 10
    rule = OneFeatureRule.learned(values, [0] * 10 + [2] * 10 + [0] * 10 + [3] * 10)
    assert rule.answer([0.0, 1.0, 1.8, 2.0, 3.0, 4.4, 4.6, 99.0]) == [0, 0, 2, 2, 0, 0, 3, 3]
    assert rule.edges == (1.75, 2.5, 4.5)  # the quartiles


def test_the_rule_finds_nothing_where_there_is_nothing():
    rng = np.random.default_rng(0)
    rule = OneFeatureRule.learned(rng.random(400), rng.integers(0, 4, 400).tolist())
    share, _ = shares_right(rule.answer(rng.random(4000)), (classes := rng.integers(0, 4, 4000).tolist()), TYPES)
    assert share == pytest.approx(0.25, abs=0.03)
    assert set(classes) == {0, 1, 2, 3}


def test_shares_right_by_hand():
    share, of_class = shares_right([0, 1, 1, 3], [0, 0, 1, 3], TYPES)
    assert share == 0.75
    assert of_class == {"different_class": 0.5, "same_class": 1.0, "same_speed": 1.0}


@pytest.mark.parametrize(
    ("accuracy", "baseline", "expected"), [(0.85, 0.55, 0.5), (0.85, 0.2, 0), (0.5, 0.9, 1), (0.25, 0.9, 0)]
)
def test_the_baselines_share_of_what_is_above_chance(accuracy, baseline, expected):
    assert explained(accuracy, baseline, classes=4) == pytest.approx(expected)


def test_the_published_join_gives_the_type_away_and_one_join_for_both_does_not():
    """Videos of smooth motion and flat color: a cut is one large difference, a blend several of half the size."""
    palette = np.random.default_rng(1).integers(0, 256, (80, 3))
    sources = [Source("ab"[n // 40], f"g{n}", f"{n}.mp4", 50) for n in range(80)]

    def load(source: int) -> np.ndarray:
        drift = np.arange(50)[:, None] // 4  # slow
        flat = np.clip(palette[source] * 0.7 + drift, 0, 255).astype(np.uint8)
        return np.broadcast_to(flat[:, None, None, :], (50, 2, 2, 3))

    def baseline(join: str) -> float:
        maker = ClipPlanner(sources, WINDOW, BspConfig(join=join, blend_share=0.5), seed=0, side="training")
        made = [[maker.plan(epoch, index) for index in range(400)] for epoch in range(2)]
        values = [[largest_difference(render_clip(plan, load, untouched)) for plan in plans] for plans in made]
        types = [[TYPES.index(plan.type) for plan in plans] for plans in made]
        answers = OneFeatureRule.learned(values[0], types[0]).answer(values[1])
        pairs = [k for k, type_ in enumerate(types[1]) if type_ < 2]  # different_class and same_class
        return shares_right([answers[k] for k in pairs], [types[1][k] for k in pairs], TYPES)[0]

    assert baseline("published") > 0.85
    assert baseline("cut") < 0.7
    assert baseline("blend") < 0.7

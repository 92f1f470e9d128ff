"""Plans of synthetic videos after PAL: three videos in a pair, exact intervals, known source time, no chance."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from pipeline.errors import PipelineError
from pipeline.pretraining.pal_config import PalConfig
from pipeline.pretraining.pal_plan import ClipGrid, Paste, Span, plan_epoch, plan_step, two_derangements

GRID = ClipGrid(clips=16, stride=16, window=16, cells=(2, 8, 13))
VIDEOS = [[256], [300, 400], [1000], [257], [600], [256, 256, 256], [2000]]


def pairs(count: int, **changes):
    config = PalConfig(**changes)
    for step in range(count):
        yield from plan_step(VIDEOS, [6, 0, 3, 2, 1], GRID, config, seed=[1, step])


def test_the_grid_tells_length_and_frames():
    assert GRID.length == 256
    assert ClipGrid(clips=3, stride=16, window=78, cells=(3, 74)).length == 110
    assert ClipGrid(clips=3, stride=16, window=78, cells=(3, 74)).frames.tolist() == [[3, 74], [19, 90], [35, 106]]


@pytest.mark.parametrize("count", [3, 4, 7])
def test_two_derangements_differ_from_the_identity_and_from_each_other_everywhere(count):
    seen = Counter()
    for seed in range(300):
        one, two = two_derangements(np.random.default_rng(seed), count)
        assert sorted(one) == sorted(two) == list(range(count))
        assert all(len({place, one[place], two[place]}) == 3 for place in range(count))
        seen.update(enumerate(one))
    # Each other place is drawn equally often: 300 / (count - 1), within 5 deviations.
    expected = 300 / (count - 1)
    assert len(seen) == count * (count - 1)
    assert all(abs(number - expected) < 5 * expected**0.5 for number in seen.values())


def test_a_source_and_its_backgrounds_are_three_videos_and_each_is_a_background_twice():
    plan = plan_step(VIDEOS, [6, 0, 3, 2, 1], GRID, PalConfig(), seed=[0])
    assert [pair.source for pair in plan] == [6, 0, 3, 2, 1]
    behind = Counter(paste.background.video for pair in plan for paste in pair.pastes)
    assert behind == dict.fromkeys([6, 0, 3, 2, 1], 2)
    for pair in plan:
        assert pair.pastes[0].source == pair.pastes[1].source
        assert len({pair.source, *(paste.background.video for paste in pair.pastes)}) == 3


def test_regions_and_places_are_inside_with_the_lengths_that_were_asked_for():
    ends = set()
    for pair in pairs(100, region_share=(0.25, 0.5), paste_share=(0.125, 0.25)):
        for paste in pair.pastes:
            for span in (paste.source, paste.background):
                assert 0 <= span.first <= VIDEOS[span.video][span.stretch] - 256
            assert 0 <= paste.region[0] < paste.region[1] <= 256
            assert 64 <= paste.region[1] - paste.region[0] <= 128
            assert 0 <= paste.place[0] < paste.place[1] <= 256
            assert 32 <= paste.place[1] - paste.place[0] <= 64
            ends |= {edge % 16 for edge in paste.place}
    assert ends == set(range(1, 16))  # off the grid of windows, and everywhere between


def test_every_stretch_and_every_first_frame_is_drawn():
    spans = [paste.source for pair in pairs(300) for paste in pair.pastes]
    assert {span.stretch for span in spans if span.video == 1} == {0, 1}
    # the stretches of video 1 have 45 and 145 spans
    share = np.mean([span.stretch for span in spans if span.video == 1])
    assert abs(share - 145 / 190) < 0.1
    assert {span.first for span in spans if span.video == 3} == {0, 1}


def test_the_regions_of_a_pair_share_at_least_what_was_asked_for():
    def share(pair):
        shorter = min(paste.region[1] - paste.region[0] for paste in pair.pastes)
        return 0 if pair.shared is None else (pair.shared[1] - pair.shared[0]) / shorter

    assert min(share(pair) for pair in pairs(100, min_shared=0.5)) >= 0.5
    assert {share(pair) for pair in pairs(20, min_shared=1.0)} == {1.0}
    free = [share(pair) for pair in pairs(100, min_shared=0.0)]
    assert min(free) == 0
    assert max(free) == 1


def test_the_source_time_of_every_frame_is_known_by_hand():
    span = Span(0, 0, 100)
    faster = Paste(span, Span(1, 0, 0), region=(10, 16), place=(5, 8))
    assert faster.source_frames().tolist() == [11, 13, 15]  # the middle frame of each two
    slower = Paste(span, Span(1, 0, 0), region=(10, 13), place=(5, 11))
    assert slower.source_frames().tolist() == [10, 10, 11, 11, 12, 12]
    assert faster.place_of((10, 16)) == (5.0, 8.0)
    assert faster.place_of((12, 14)) == (6.0, 7.0)
    assert slower.place_of((11, 12)) == (7.0, 9.0)


def test_the_source_is_shown_in_its_place_only_and_fades_if_asked_for():
    paste = Paste(Span(0, 0, 0), Span(1, 0, 0), region=(0, 6), place=(2, 8))
    assert paste.weights(10, blend=0).tolist() == [0, 0, 1, 1, 1, 1, 1, 1, 0, 0]
    assert paste.weights(10, blend=2).tolist() == [0, 0, 0.25, 0.75, 1, 1, 0.75, 0.25, 0, 0]


def test_an_epoch_is_a_function_of_its_seed_and_takes_a_source_once_a_round():
    config = PalConfig(sources=3, rounds=4)
    plan = plan_epoch(VIDEOS, GRID, config, seed=[0, 5])
    assert plan == plan_epoch(VIDEOS, GRID, config, seed=[0, 5])
    assert plan != plan_epoch(VIDEOS, GRID, config, seed=[0, 6])
    assert plan != plan_epoch(VIDEOS, GRID, config, seed=[1, 5])
    assert [len(step) for step in plan] == [3] * 8  # 4 rounds of 7 videos: two steps each, one video waits
    rounds = [[pair.source for step in plan[first : first + 2] for pair in step] for first in range(0, 8, 2)]
    assert all(len(set(sources)) == 6 for sources in rounds)
    assert len({tuple(sources) for sources in rounds}) == 4
    assert len({pair.pastes for step in plan for pair in step}) == 24


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"sources": 2}, "pal.sources must be >= 3, got 2"),
        ({"region_share": (0.5, 0.2)}, "pal.region_share must be two numbers"),
        ({"paste_share": (0.0, 0.2)}, "pal.paste_share must be two numbers"),
        ({"momentum": 1.0}, "pal.momentum must be >= 0 and < 1"),
        ({"min_shared": 1.5}, "pal.min_shared must be 0 to 1"),
        ({"temperature": 0.0}, "pal.temperature must be > 0"),
        ({"dense_weight": -1.0}, "pal.dense_weight must be >= 0"),
    ],
)
def test_bad_settings_are_refused(changes, words):
    with pytest.raises(PipelineError, match=words):
        PalConfig(**changes)

"""Draw the windows of an epoch, and read them."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from sola.errors import SolaError
from sola.sampling import (
    Windows,
    draw_epoch,
    lengths_of,
    read_windows,
    split_into_steps,
    steps_in_epoch,
)
from tests.sola.test_fit import CHANNELS, MIXED_LENGTHS, SMALL, Videos


def test_an_epoch_sees_every_video_as_often_as_configured() -> None:
    drawn = draw_epoch(np.array(MIXED_LENGTHS), replace(SMALL, windows_per_video=3), 0)
    assert sorted(drawn.videos.tolist()) == sorted(list(range(7)) * 3)


def test_an_epoch_depends_on_the_seed_and_its_number_only() -> None:
    lengths = np.array([50] * 40)
    one, same = draw_epoch(lengths, SMALL, 3), draw_epoch(lengths, SMALL, 3)
    assert np.array_equal(one.videos, same.videos) and np.array_equal(one.firsts, same.firsts)
    for other in (draw_epoch(lengths, SMALL, 4), draw_epoch(lengths, replace(SMALL, seed=1), 3)):
        assert not np.array_equal(one.videos, other.videos)
        assert not np.array_equal(one.firsts, other.firsts)


def test_windows_of_long_videos_lie_inside_and_take_every_place_alike() -> None:
    drawn = draw_epoch(np.array([26]), replace(SMALL, windows_per_video=8000), 0)
    places, counts = np.unique(drawn.firsts, return_counts=True)
    assert places.tolist() == [0, 1, 2, 3]
    assert counts.min() > 1850 and counts.max() < 2150  # 2000 expected, standard deviation 39


@pytest.mark.parametrize("length", [1, 2, 5, 22])
def test_a_short_video_lies_whole_in_its_window_with_something_to_compare(length: int) -> None:
    drawn = draw_epoch(np.array([length]), replace(SMALL, windows_per_video=2000), 0)
    places = -drawn.firsts
    assert places.min() >= 0 and places.max() + length <= 23
    compared = [sum(p <= position < p + length for position in SMALL.positions) for p in np.unique(places)]
    assert min(compared) >= 1


@pytest.mark.parametrize("length", [1, 2, 5])
def test_the_snippets_of_a_short_video_are_compared_equally_often(length: int) -> None:
    drawn = draw_epoch(np.array([length]), replace(SMALL, windows_per_video=20000), 0)
    times = np.zeros(length)
    for place in -drawn.firsts:
        for position in SMALL.positions:
            if place <= position < place + length:
                times[position - place] += 1
    assert times.min() > 0.95 * times.max()


def test_steps_are_of_nearly_equal_size_and_lose_nothing() -> None:
    windows = Windows(np.arange(257), np.zeros(257, dtype=np.int64))
    steps = split_into_steps(windows, 256)
    assert [len(step) for step in steps] == [129, 128]
    assert np.array_equal(np.concatenate([step.videos for step in steps]), windows.videos)
    assert steps_in_epoch(257, replace(SMALL, batch_size=256)) == 2
    assert steps_in_epoch(12, replace(SMALL, batch_size=256)) == 1


def test_windows_hold_the_rows_of_their_video_and_zeros_outside() -> None:
    videos = Videos((5, 40))
    windows = Windows(np.array([0, 1]), np.array([-7, 11]))
    batch = read_windows(videos, windows, [6, 7, 9, 11, 12, 25], channels=CHANNELS, window_snippets=23, padding="zeros")
    short, long = videos.sequences
    zero = np.zeros(CHANNELS, np.float32)
    assert np.array_equal(batch.rows[0], [zero, short[0], short[2], short[4], zero, zero])
    assert np.array_equal(batch.rows[1], [long[17], long[18], long[20], long[22], long[23], zero])
    assert batch.first.tolist() == [7, 0] and batch.end.tolist() == [12, 23]
    assert batch.inside(torch.tensor([6, 7, 11, 12])).tolist() == [[False, True, True, False], [True] * 4]


def test_a_source_with_nothing_in_it_is_refused() -> None:
    with pytest.raises(SolaError, match="at least one video"):
        lengths_of(Videos(()))
    with pytest.raises(SolaError, match="video number 1 has no snippets"):
        lengths_of(Videos((3, 0)))

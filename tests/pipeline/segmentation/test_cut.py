"""Videos cut into segments: the origin of directions, and boundaries in seconds."""

from dataclasses import replace
from fractions import Fraction

import numpy as np

from pipeline.segmentation.cut import cut_video
from pipeline.segmentation.directions import directions, mean_row
from tests.stores import PLAN, make_store


def test_the_origin_lies_between_the_videos_mean_and_that_of_all():
    rows = np.array([[4.0, 0.0], [2.0, 0.0]])  # mean (3, 0); its share is 2 / 102
    mean = np.array([0.0, 1.0])
    origin = 2 / 102 * np.array([3.0, 0.0]) + 100 / 102 * mean
    expected = (rows - origin) / np.linalg.norm(rows - origin, axis=1, keepdims=True)
    np.testing.assert_allclose(directions(rows, mean), expected, atol=1e-6)


def test_the_mean_does_not_depend_on_how_rows_are_read(monkeypatch):
    monkeypatch.setattr("pipeline.segmentation.directions._AT_ONCE", 3)
    videos = [np.random.default_rng(seed).normal(size=(rows, 4)).astype(np.float16) for seed, rows in enumerate((7, 2))]
    np.testing.assert_allclose(mean_row(iter(videos)), np.concatenate(videos).mean(axis=0, dtype=np.float64))
    whole = np.concatenate(videos)
    share = 9 / 109
    shifted = whole - (share * whole.mean(axis=0, dtype=np.float64) + (1 - share) * np.ones(4))
    expected = shifted / np.linalg.norm(shifted, axis=1, keepdims=True)
    np.testing.assert_allclose(directions(whole, np.ones(4)), expected, atol=1e-5)


def blocks(*lengths: int) -> np.ndarray:
    """Return rows that stay at one unit vector for each length."""
    return np.eye(len(lengths), dtype=np.float32)[np.repeat(np.arange(len(lengths)), lengths)]


def test_a_boundary_lies_between_the_centers_of_two_rows(tmp_path):
    # The centers of rows 5 and 6 are at 3.0 and 3.5 s (stride 0.5, window 1 s).
    sequence = make_store(tmp_path / "s", {"a": blocks(6, 8, 6)}).read("a")
    found = cut_video(sequence, np.zeros(3))
    assert found.segments == [(0, 3.25), (3.25, 7.25), (7.25, 10)]
    np.testing.assert_allclose(np.linalg.norm(found.means, axis=1), 1, atol=1e-6)


def test_rows_beyond_the_end_make_no_segment(tmp_path):
    # Windows of 4 s: the centers of the last rows lie after the end, 10 s, and so does the change at row 18.
    plan = replace(PLAN, window_frames=Fraction(40))
    sequence = make_store(tmp_path / "s", {"a": blocks(6, 12, 2)}, plan=plan).read("a")
    found = cut_video(sequence, np.zeros(3), price=0.1)
    assert found.segments == [(0, 4.75), (4.75, 10)]
    assert len(found.means) == 2


def test_a_single_row_is_a_single_segment(tmp_path):
    sequence = make_store(tmp_path / "s", {"a": blocks(1)}).read("a")
    assert cut_video(sequence, np.zeros(1)).segments == [(0, 0.5)]

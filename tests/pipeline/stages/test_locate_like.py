"""By example: what resembles a marked stretch, in all videos, ranked."""

from collections.abc import Sequence

import numpy as np
import pytest

from pipeline.errors import PipelineError
from pipeline.segmentation.examples import Example
from pipeline.stages.locate_like import locate_like, rows_in
from tests.stores import make_store


def scenes(parts: Sequence[tuple[int, int]], *, seed: int) -> np.ndarray:
    """Return rows of (direction, number of rows) after each other, with noise and far from the origin."""
    random = np.random.default_rng(seed)
    rows = np.repeat([np.eye(8)[direction] for direction, _ in parts], [count for _, count in parts], axis=0)
    return (20 + rows + 0.1 * random.normal(size=rows.shape)).astype(np.float32)


@pytest.fixture
def store(tmp_path):
    # Stride 0.5 s, centers at (i + 1) / 2: direction 3 is shown from 5.25 s to 9.25 s in a, from 15.25 s on in b.
    videos = {
        "a": scenes([(1, 10), (3, 8), (2, 12)], seed=0),
        "b": scenes([(2, 14), (1, 16), (3, 10)], seed=1),
        "c": scenes([(4, 20), (5, 20)], seed=2),
    }
    return make_store(tmp_path / "s", videos)


def test_the_nearest_segments_come_first_in_all_videos(store):
    found, failed = locate_like(store, ["jump=a.mp4@6-8"])
    assert failed == {}
    ranked = sorted(((one.score, i, one.segment) for i, of in found.items() for one in of), reverse=True)
    assert [(i, segment) for _, i, segment in ranked[:2]] == [("a", (5.25, 9.25)), ("b", (15.25, 20.0))]
    assert ranked[0][0] > 0.9
    assert all(score < 0.4 for score, _, _ in ranked[2:])  # plain features would all have a cosine of 0.99
    assert {one.label for of in found.values() for one in of} == {"jump"}


def test_examples_of_one_label_are_alternatives_and_labels_are_searched_at_once(store):
    both, _ = locate_like(store, ["x=a@6-8", "x=c@2-6", "y=a@1-4"])
    best = {
        label: {i for i, of in both.items() for one in of if one.label == label and one.score > 0.7} for label in "xy"
    }
    assert best == {"x": {"a", "b", "c"}, "y": {"a", "b"}}


def test_a_broken_video_costs_only_itself(store):
    store.array_path("b").write_bytes(b"no array")
    found, failed = locate_like(store, ["a@6-8"])
    assert (sorted(found), sorted(failed)) == (["a", "c"], ["b"])
    with pytest.raises(PipelineError, match="no video 'b' among the 2 given"):
        locate_like(store, ["b@1-2"])


def test_the_rows_of_a_stretch_have_their_centers_in_it(store):
    a = store.read("a")
    assert rows_in(Example("x", "a", (6.0, 8.0)), a) == slice(11, 15)  # centers 6.0, 6.5, 7.0, 7.5
    assert rows_in(Example("x", "a", (6.1, 6.2)), a) == slice(11, 12)  # none: the nearest
    assert rows_in(Example("x", "a", (0.0, 0.1)), a) == slice(0, 1)
    assert rows_in(Example("x", "a", (14.9, 99.0)), a) == slice(29, 30)
    with pytest.raises(PipelineError, match=r"like a@15-16: the video lasts 15.00 s only"):
        rows_in(Example("x", "a", (15.0, 16.0)), a)

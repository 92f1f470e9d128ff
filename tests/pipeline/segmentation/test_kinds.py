"""Kinds of segments: the silhouette against scikit-learn, the number by the data, the same result in every run."""

import numpy as np
import pytest

from pipeline.errors import PipelineError
from pipeline.segmentation.kinds import find_kinds, silhouette


def groups(number: int, each: int, noise: float = 0.15, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return unit rows around perpendicular directions, and their groups, in random order."""
    random = np.random.default_rng(seed)
    names = random.permutation(np.repeat(np.arange(number), each))
    rows = np.eye(12)[names] + noise * random.normal(size=(len(names), 12))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32), names


def test_silhouette_is_that_of_scikit_learn():
    metrics = pytest.importorskip("sklearn.metrics")
    rows, names = groups(4, 7, noise=0.5)
    names[0] = 9  # alone in its kind
    expected = metrics.silhouette_score(rows, names, metric="cosine")
    assert silhouette(rows, names) == pytest.approx(expected, abs=1e-5)


def test_silhouette_by_hand():
    # Distances on a circle: 0 within the pairs, 1 (perpendicular) between: each row has (1 - 0) / 1.
    rows = np.array([[1, 0], [1, 0], [0, 1], [0, 1]], np.float32)
    assert silhouette(rows, np.array([0, 0, 1, 1])) == pytest.approx(1)
    # Mixed pairs: 1 to the own kind's other row, (0 + 1) / 2 to the other kind: (0.5 - 1) / 1.
    assert silhouette(rows, np.array([0, 1, 0, 1])) == pytest.approx(-0.5)


@pytest.mark.parametrize("number", [2, 5, 9])
def test_the_data_give_the_number_of_kinds(number):
    rows, names = groups(number, 6)
    found = find_kinds(rows)
    assert len(set(found.labels)) == number
    assert len(set(zip(names, found.labels, strict=True))) == number  # one kind for each group
    assert max(found.silhouettes, key=found.silhouettes.get) == number


def test_a_given_number_is_kept_and_likeness_is_the_cosine_to_the_center():
    rows, _ = groups(6, 5)
    found = find_kinds(rows, 3)
    assert len(set(found.labels)) == 3
    assert found.silhouettes == {}
    for kind in range(3):
        center = rows[found.labels == kind].sum(axis=0)
        cosines = rows[found.labels == kind] @ center / np.linalg.norm(center)
        np.testing.assert_allclose(found.likeness[found.labels == kind], cosines, atol=1e-5)


def test_every_run_gives_the_same():
    rows, _ = groups(5, 8, noise=0.6)
    assert find_kinds(rows).labels.tolist() == find_kinds(rows).labels.tolist()


@pytest.mark.parametrize("count", [1, 2])
def test_few_segments_are_enough(count):
    assert find_kinds(np.eye(3, dtype=np.float32)[:count]).labels.tolist() == [0] * count
    assert len(set(find_kinds(np.eye(3, dtype=np.float32)[:count], 5).labels)) == count


def test_equal_segments_and_no_kinds_are_handled():
    assert set(find_kinds(np.ones((6, 1), np.float32), 3).labels) == {0}
    with pytest.raises(PipelineError, match="kinds must be >= 1, got 0"):
        find_kinds(np.eye(3, dtype=np.float32), 0)

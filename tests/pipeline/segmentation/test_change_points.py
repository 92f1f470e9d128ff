"""Change points: against all segmentations of a few rows, against ruptures, and the number that the data give."""

import itertools
import tracemalloc

import numpy as np
import pytest

from pipeline.segmentation.change_points import cheapest, find_change_points, scatter


def made(rows: int, channels: int, pieces: int, noise: float, seed: int) -> tuple[np.ndarray, list[int]]:
    """Return unit rows that jump to a new direction at random places, and these places."""
    random = np.random.default_rng(seed)
    points = sorted(random.choice(np.arange(1, rows), pieces - 1, replace=False).tolist())
    directions = random.normal(size=(pieces, channels))[np.searchsorted(points, np.arange(rows), side="right")]
    features = directions + noise * random.normal(size=(rows, channels))
    return (features / np.linalg.norm(features, axis=1, keepdims=True)).astype(np.float32), points


def by_definition(rows: np.ndarray, points: tuple[int, ...], price: float) -> float:
    """Return the cost in terms of the kernel: sum k(i, i) - sum k(i, j) / n of each segment, and the prices."""
    kernel = rows.astype(np.float64) @ rows.T.astype(np.float64)
    cost = price * len(points)
    for start, end in itertools.pairwise((0, *points, len(rows))):
        inside = kernel[start:end, start:end]
        cost += np.trace(inside) - inside.sum() / (end - start)
    return cost


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("price", [0.05, 0.4, 1.5])
def test_no_segmentation_is_cheaper(seed, price):
    rows, _ = made(9, 4, 3, 0.5, seed)
    every = (c for n in range(9) for c in itertools.combinations(range(1, 9), n))
    least = min(every, key=lambda points: by_definition(rows, points, price))
    found = cheapest(rows, price)
    assert tuple(found) == least
    assert scatter(rows, found) + price * len(found) == pytest.approx(by_definition(rows, least, price), abs=1e-6)


@pytest.mark.parametrize("price", [0.5, 2.0, 8.0])
def test_ruptures_finds_the_same(price):
    ruptures = pytest.importorskip("ruptures")
    rows, _ = made(400, 8, 12, 1.0, seed=1)  # longer than a block of ends
    theirs = ruptures.KernelCPD(kernel="linear", min_size=1).fit(rows.astype(np.float64)).predict(pen=price)
    assert cheapest(rows, price, reach=400).tolist() == theirs[:-1]


@pytest.mark.parametrize("seed", range(3))
def test_the_data_give_the_number(seed):
    rows, points = made(300, 32, 6, 0.7, seed)
    assert find_change_points(rows).tolist() == points


def test_noise_has_no_change_points():
    rows, _ = made(500, 32, 1, 3.0, seed=0)
    assert len(find_change_points(rows)) == 0


def test_a_higher_price_gives_fewer():
    rows, _ = made(300, 8, 20, 1.0, seed=0)
    numbers = [len(find_change_points(rows, price=price)) for price in (0.3, 1, 3, 100)]
    assert numbers == sorted(numbers, reverse=True)
    assert numbers[0] > numbers[-1] == 0


@pytest.mark.parametrize("rows", [np.ones((1, 3)), np.full((7, 3), 3**-0.5), np.zeros((5, 3))])
def test_one_row_and_rows_without_difference_have_none(rows):
    assert len(find_change_points(rows.astype(np.float32))) == 0


@pytest.mark.parametrize("seed", range(4))
def test_segments_beyond_the_reach_are_joined(seed):
    # With so much noise, parts that end at the reach would shift change points by some rows.
    random = np.random.default_rng(seed)
    means = np.repeat(random.normal(size=(3, 32)), (310, 270, 320), axis=0)
    features = means + 2 * random.normal(size=means.shape)
    rows = (features / np.linalg.norm(features, axis=1, keepdims=True)).astype(np.float32)
    exact = cheapest(rows, 10.0, reach=900)
    assert exact == pytest.approx([310, 580], abs=10)
    assert cheapest(rows, 10.0, reach=100).tolist() == exact.tolist()


def test_memory_does_not_grow_with_the_square_of_the_rows():
    rows, _ = made(10_000, 8, 40, 0.5, seed=4)  # all pairs would take 800 MB
    tracemalloc.start()
    found = find_change_points(rows)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert 30 < len(found) < 40
    assert peak < 20e6

"""Change points of a feature sequence: where the rows of a video change direction.

A segmentation costs what its segments scatter: for each segment, the sum of squared distances of its unit rows to their
mean. In terms of the cosine kernel k this is sum_i k(i, i) - sum_ij k(i, j) / n over the n rows of the segment. Every
change point has a price. Dynamic programming finds the cheapest segmentation.

Source: Potapov et al. 2014 (Category-specific video summarization), section 3, for the cost; Jackson et al. 2005 (An
algorithm for optimal partitioning of data on an interval) for the search.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

REACH = 512  # rows of the longest segment that the search looks at; longer ones are joined of parts
_BLOCK = 128  # ends of segments whose costs are computed at once

Rows = NDArray[np.float32]
Array = NDArray[np.float64]
Places = NDArray[np.int64]


def find_change_points(rows: Rows, *, price: float = 1.0) -> Places:
    """Return the first rows of all segments but the first, ascending; their number follows from the data.

    A change point must save `price` times v log T, where v is the mean squared distance of a row to the mean of all.
    Noise alone saves about v, wherever it is cut.

    Args:
        rows: [T, C], of unit length.
        price: > 0; a higher one gives fewer change points.
    """
    none = np.empty(0, dtype=np.int64)
    if len(rows) < 2 or not (total := scatter(rows, none)):
        return none
    return cheapest(rows, price * total / len(rows) * float(np.log(len(rows))))


def cheapest(rows: Rows, price: float, *, reach: int = REACH) -> Places:
    """Return the change points of the segmentation of least scatter + price * number of change points.

    Time grows with T * reach * C, memory beside the rows with reach * C.

    Args:
        rows: [T, C], T >= 1.
        price: >= 0.
        reach: the result is the exact minimum if it is T at least; segments of more rows are joined of parts, where
            that is cheaper, and then each change point moves to the best place between its neighbors.
    """
    best = np.zeros(len(rows) + 1)  # cost of the rows before t, with a price for each segment
    starts = np.zeros(len(rows) + 1, dtype=np.int64)  # of the last segment of the rows before t
    for end, first, costs in _costs(rows, reach):
        totals = best[first:end] + costs
        chosen = int(totals.argmin())
        best[end], starts[end] = totals[chosen] + price, first + chosen
    points = []
    start = int(starts[-1])
    while start > 0:
        points.append(start)
        start = int(starts[start])
    found = np.array(points[::-1], dtype=np.int64)
    joined = _joined(rows, found, price)
    return joined if len(rows) <= reach else _settled(rows, joined, reach)


def scatter(rows: Rows, points: Places) -> float:
    """Return the sum of the squared distances of all rows to the means of their segments."""
    sums, sizes = segment_sums(rows, points)
    squares = np.square(rows).sum(axis=1, dtype=np.float64)
    return max(0.0, float(squares.sum() - (np.square(sums).sum(axis=1) / sizes).sum()))


def segment_sums(rows: Rows, points: Places) -> tuple[Array, Places]:
    """Return the sum of the rows of each segment, [S, C], and their numbers [S]."""
    bounds = np.concatenate([[0], points]).astype(np.int64)
    return np.add.reduceat(rows, bounds, axis=0, dtype=np.float64), np.diff(np.append(bounds, len(rows)))


def _costs(rows: Rows, reach: int) -> Iterator[tuple[int, int, Array]]:
    """Yield (end, first, costs) for each end in 1..T: costs[k] is the scatter of the rows [first + k, end)."""
    squares = np.concatenate([[0.0], np.cumsum(np.square(rows).sum(axis=1, dtype=np.float64))])
    for block in range(1, len(rows) + 1, _BLOCK):
        ends = np.arange(block, min(block + _BLOCK, len(rows) + 1))
        low = max(0, block - reach)
        # Sums from `low` on: small numbers, so that little is lost in the difference of their squares below.
        sums = np.zeros((ends[-1] - low + 1, rows.shape[1]))
        np.cumsum(rows[low : ends[-1]], axis=0, dtype=np.float64, out=sums[1:])
        lengths = np.square(sums).sum(axis=1)
        products = sums[ends - low] @ sums.T
        for place, end in enumerate(map(int, ends)):
            first = max(0, end - reach)
            near = slice(first - low, end - low)
            of_sum = lengths[end - low] + lengths[near] - 2 * products[place, near]
            yield end, first, squares[end] - squares[first:end] - of_sum / np.arange(end - first, 0, -1)


def _joined(rows: Rows, points: Places, price: float) -> Places:
    """Join neighbors, the nearest first, while that adds less scatter than a change point costs.

    A segmentation that was found without a limit of its reach has no such neighbors.
    """
    sums, sizes = segment_sums(rows, points)
    while len(points):
        means = sums / sizes[:, None]
        added = np.square(np.diff(means, axis=0)).sum(axis=1) * sizes[1:] * sizes[:-1] / (sizes[1:] + sizes[:-1])
        least = int(added.argmin())
        if added[least] >= price:
            break
        sums[least] += sums[least + 1]
        sizes[least] += sizes[least + 1]
        sums, sizes = np.delete(sums, least + 1, axis=0), np.delete(sizes, least + 1)
        points = np.delete(points, least)
    return points


def _settled(rows: Rows, points: Places, reach: int) -> Places:
    """Move each change point, from left to right, to where the two segments beside it scatter least.

    Args:
        reach: how many rows it may move.
    """
    bounds = [0, *points.tolist(), len(rows)]
    for place in range(1, len(bounds) - 1):
        left, point, right = bounds[place - 1 : place + 2]
        low, high = max(left, point - reach), min(right, point + reach)
        before, after = (rows[a:b].sum(axis=0, dtype=np.float64) for a, b in ((left, low), (high, right)))
        sums = before + np.cumsum(rows[low:high], axis=0, dtype=np.float64)  # of the rows [left, low + 1), ...
        one, other = sums[:-1], sums[-1] + after - sums[:-1]
        sizes = np.arange(low + 1, high) - left
        saved = np.square(one).sum(axis=1) / sizes + np.square(other).sum(axis=1) / (right - left - sizes)
        bounds[place] = low + 1 + int(saved.argmax())
    return np.array(bounds[1:-1], dtype=np.int64)

"""Filters that need no fit: each against its definition, written out."""

import math

import numpy as np
import pytest

from sola.config import SolaConfig
from sola.errors import SolaError
from sola.filters import FILTERS, Filter, enhanced_by, filter_of, linear_taps
from sola.sampling import lengths_of
from tests.sola.test_gauge import Arrays


def noise(count: int, channels: int = 3, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, channels))


@pytest.mark.parametrize("count", [1, 2, 4, 30])
@pytest.mark.parametrize("width", [3, 5])
def test_a_mean_is_over_what_is_there_of_its_window(width: int, count: int) -> None:
    x = noise(count)
    expected = [x[max(0, t - width // 2) : t + width // 2 + 1].mean(axis=0) for t in range(count)]
    np.testing.assert_allclose(Filter(f"mean{width}").apply(x), expected, atol=1e-12)


@pytest.mark.parametrize("count", [1, 2, 5, 40])
def test_the_bilateral_filter_is_its_formula(count: int) -> None:
    x = noise(count)
    m = np.median([((x[t + 1] - x[t]) ** 2).sum() for t in range(count - 1)]) if count > 1 else 1.0
    expected = []
    for t in range(count):
        near = [s for s in range(count) if abs(s - t) <= 8]
        weights = [math.exp(-((x[t] - x[s]) ** 2).sum() / (4 * m)) for s in near]
        expected.append(sum(w * x[s] for w, s in zip(weights, near, strict=True)) / sum(weights))
    np.testing.assert_allclose(Filter("bilateral").apply(x), expected, atol=1e-12)


def test_the_bilateral_filter_keeps_a_step_that_a_mean_smears() -> None:
    step = np.repeat([[0.0], [10.0]], 20, axis=0) + 0.1 * noise(40, 1)
    clean = np.repeat([[0.0], [10.0]], 20, axis=0)
    errors = {name: np.abs(Filter(name).apply(step) - clean)[18:22].max() for name in ("mean5", "bilateral")}
    assert errors["mean5"] > 3 and errors["bilateral"] < 0.3
    still = np.full((12, 2), 3.0)
    np.testing.assert_array_equal(Filter("bilateral").apply(still), still)  # the median change is 0


def test_linear_taps_are_the_least_squares_prediction_with_sum_one() -> None:
    # Against numpy's least squares: with w_last = 1 - the others, the error is linear in the other weights.
    videos = [np.cumsum(noise(80, seed=seed), axis=0).astype(np.float32) for seed in range(4)]
    source = Arrays(videos)
    taps = np.array(linear_taps(source, lengths_of(source), 5))
    assert taps[2] == 0 and taps.sum() == pytest.approx(1)
    columns, wanted = [], []
    for x in videos:
        x = x.astype(np.float64)
        lags = {k: x[2 + k : len(x) - 2 + k].ravel() for k in (-2, -1, 0, 1, 2)}
        columns.append(np.stack([lags[k] - lags[2] for k in (-2, -1, 1)], axis=1))
        wanted.append(lags[0] - lags[2])
    expected = np.linalg.lstsq(np.concatenate(columns), np.concatenate(wanted), rcond=None)[0]
    np.testing.assert_allclose(taps[[0, 1, 3]], expected, atol=1e-3)
    # A random walk is best predicted by the mean of the two beside it.
    np.testing.assert_allclose(taps, [0, 0.5, 0, 0.5, 0], atol=0.1)


def test_linear_taps_average_white_noise_and_repeat_the_ends() -> None:
    source = Arrays([noise(400, seed=seed).astype(np.float32) for seed in range(3)])
    taps = linear_taps(source, lengths_of(source), 5)
    np.testing.assert_allclose(taps, [0.25, 0.25, 0, 0.25, 0.25], atol=0.05)
    x = noise(6)
    padded = np.concatenate([x[:1], x[:1], x, x[-1:], x[-1:]])
    expected = [sum(tap * padded[t + k] for k, tap in enumerate(taps)) for t in range(6)]
    np.testing.assert_allclose(Filter("linear", taps).apply(x), expected, atol=1e-12)
    still = Arrays([np.full((9, 2), 2.0, dtype=np.float32)])
    np.testing.assert_allclose(linear_taps(still, lengths_of(still), 3), [0.5, 0, 0.5])


@pytest.mark.parametrize("name", FILTERS)
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_filters_keep_shape_and_dtype_and_do_not_depend_on_chunks(name: str, dtype: type) -> None:
    by = Filter(name, (0.5, 0.0, 0.5) if name == "linear" else ())
    x = noise(20).astype(dtype)
    whole = np.concatenate(list(enhanced_by(by, [x])))
    assert whole.shape == x.shape and whole.dtype == dtype
    np.testing.assert_array_equal(np.concatenate(list(enhanced_by(by, [x[:3], x[3:3], x[3:]]))), whole)
    assert list(enhanced_by(by, [])) == []
    assert filter_of({"filter": by.as_json()}) == by


def test_what_is_no_filter_is_refused_with_the_value_named() -> None:
    with pytest.raises(SolaError, match="mean3, mean5, bilateral, linear, got 'median'"):
        Filter("median")  # type: ignore[arg-type]
    for value in ({"name": "linear"}, {"name": "mean3", "taps": [1.0]}, {"name": "linear", "taps": [math.nan]}, 3, {}):
        with pytest.raises(SolaError):
            filter_of({"filter": value})
    short = Arrays([noise(4).astype(np.float32)])
    with pytest.raises(SolaError, match="no sequence has 5 snippets"):
        linear_taps(short, lengths_of(short), 5)
    with pytest.raises(SolaError, match="odd and >= 3, got 4"):
        linear_taps(short, lengths_of(short), 4)
    with pytest.raises(SolaError, match="floats"):
        Filter("mean3").apply(np.zeros((3, 2), dtype=np.int64))


def test_the_width_of_a_module_is_its_receptive_field() -> None:
    assert SolaConfig().receptive_snippets == 5
    assert SolaConfig(kernel_sizes=(3, 5), dilations=(2, 1)).receptive_snippets == 9

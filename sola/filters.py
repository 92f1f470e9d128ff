"""Filters over time that need no fit: what SoLa must beat before its gain means anything.

Every filter takes a whole sequence [T, C] and returns one of its shape and dtype. No filter uses rows of another video.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np
import torch

from sola.config import FilterName
from sola.correction import draw_stretches
from sola.enhance import enhance
from sola.errors import SolaError
from sola.module import SolaModule
from sola.sampling import FeatureSource

FILTERS: tuple[FilterName, ...] = get_args(FilterName)
BILATERAL_RADIUS = 8
# Share of the mean squared change that is added to every lag, so that a sequence without changes has taps too.
_RIDGE = 1e-6


@dataclass(frozen=True)
class Filter:
    """A filter by name; `taps` are the weights of the linear one, of the snippets from the first to the last."""

    name: FilterName
    taps: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.name not in FILTERS:
            raise SolaError(f"filter must be one of {', '.join(FILTERS)}, got {self.name!r}")
        if (self.name == "linear") != (len(self.taps) % 2 == 1) or not np.isfinite(self.taps).all():
            raise SolaError(f"filter {self.name} cannot have the taps {self.taps!r:.80}: linear alone has them")

    def as_json(self) -> dict[str, Any]:
        """Return the filter as JSON values, for the spec of a store."""
        return {"name": self.name, "taps": list(self.taps)} if self.taps else {"name": self.name}

    @classmethod
    def from_json(cls, value: Any) -> "Filter":
        """Return the filter that `as_json` described; raise SolaError for anything else."""
        try:
            return cls(value["name"], tuple(float(tap) for tap in value.get("taps", ())))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise SolaError(f"{value!r:.80} is not a filter of this program: {error}") from None

    def apply(self, features: np.ndarray) -> np.ndarray:
        """Return the filtered sequence [T, C], in the dtype of the input; the sums are in float64."""
        if features.ndim != 2 or not np.issubdtype(features.dtype, np.floating):
            raise SolaError(f"features must be floats [T, C], got {features.dtype} {list(features.shape)}")
        rows = features.astype(np.float64)
        if self.name == "bilateral":
            filtered = _bilateral(rows)
        elif self.name == "linear":
            filtered = _correlate(rows, self.taps)
        else:
            filtered = _mean(rows, int(self.name.removeprefix("mean")))
        return filtered.astype(features.dtype)


def enhanced_by(by: SolaModule | Filter, chunks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Yield a sequence after a module or a filter, in blocks; a filter holds the whole sequence in memory.

    Args:
        by: what to apply.
        chunks: the sequence in consecutive pieces [any number of rows, C].
    """
    if isinstance(by, SolaModule):
        yield from enhance(by, chunks)
    elif pieces := [chunk for chunk in chunks if len(chunk)]:
        yield by.apply(np.concatenate(pieces))


def make_filter(name: FilterName, source: FeatureSource, lengths: np.ndarray, *, width: int) -> Filter:
    """Return a filter for the data; only the linear one depends on them.

    Args:
        name: which.
        source: the sequences; a sample of them gives the linear filter's taps.
        lengths: [V] int64, their snippets.
        width: snippets that the linear filter covers, odd and >= 3: that of the SoLa module beside it.
    """
    return Filter(name, linear_taps(source, lengths, width) if name == "linear" else ())


def linear_taps(source: FeatureSource, lengths: np.ndarray, width: int) -> tuple[float, ...]:
    """Return the weights that predict a snippet from its neighbors with the least squared error.

    The snippet itself has weight 0: noise that differs from snippet to snippet cannot be predicted, so the prediction
    keeps what lasts. All channels share the weights, and their sum is 1, so that constant features stay.

    Args:
        source: the sequences, of which a sample is read.
        lengths: [V] int64, their snippets.
        width: of the filter in snippets, odd and >= 3.

    Raises:
        SolaError: the width is not odd and >= 3, or no sequence is as long.

    Source: Batson and Royer, "Noise2Self", ICML 2019 (why the snippet is left out); the weights are those of ordinary
        kriging.
    """
    if width < 3 or width % 2 == 0:
        raise SolaError(f"width must be odd and >= 3, got {width}")
    radius = width // 2
    lags = [lag for lag in range(-radius, radius + 1) if lag]
    products = np.zeros((len(lags), len(lags)))
    sample = draw_stretches(source, lengths, radius, np.random.default_rng([0, 0]))
    if not sample:
        raise SolaError(f"no sequence has {width} snippets, which the linear filter covers: use another filter")
    for rows in sample:
        x = rows.double()
        here = x[radius : len(x) - radius]
        changes = torch.stack([x[radius + lag : len(x) - radius + lag] - here for lag in lags]).flatten(1)
        products += (changes @ changes.T).numpy()
    # Minimal w'Gw with sum w = 1, G the products of the changes to each neighbor.
    products += np.eye(len(lags)) * (_RIDGE * products.trace() / len(lags) + np.finfo(np.float64).tiny)
    weights = np.linalg.solve(products / np.abs(products).max(), np.ones(len(lags)))
    weights /= weights.sum()
    return tuple(float(tap) for tap in np.insert(weights, radius, 0.0))


def _mean(rows: np.ndarray, width: int) -> np.ndarray:
    """Return means over the window, at the ends over what is there of it."""
    total, count = np.zeros_like(rows), np.zeros((len(rows), 1))
    for lag in range(-(width // 2), width // 2 + 1):
        to, of = _shifted(len(rows), lag)
        total[to] += rows[of]
        count[to] += 1
    return total / count


def _correlate(rows: np.ndarray, taps: tuple[float, ...]) -> np.ndarray:
    """Return sum_k taps[k] x[t + k], the first and the last row repeated beyond the ends."""
    radius = len(taps) // 2
    padded = np.pad(rows, ((radius, radius), (0, 0)), mode="edge") if len(rows) else rows
    return np.asarray(sum(tap * padded[k : k + len(rows)] for k, tap in enumerate(taps)))


def _bilateral(rows: np.ndarray) -> np.ndarray:
    """Return means over 8 snippets on each side, weighted by likeness: over a segment, not across its boundary.

    y_t = sum_s w_ts x_s / sum_s w_ts, |s - t| <= 8, w_ts = exp(-|x_t - x_s|² / (4 m)), m the median of |x_{t+1} - x_t|²
    over the video: the squared distance that noise alone gives.

    Source: after Tomasi and Manduchi, "Bilateral filtering for gray and color images", ICCV 1998.
    """
    if len(rows) < 2:
        return rows
    scale = 4 * max(float(np.median(np.square(np.diff(rows, axis=0)).sum(axis=1))), np.finfo(np.float64).tiny)
    total, weights = rows.copy(), np.ones((len(rows), 1))
    for lag in range(1, min(BILATERAL_RADIUS, len(rows) - 1) + 1):
        distance = np.square(rows[lag:] - rows[:-lag]).sum(axis=1, keepdims=True)
        weight = np.exp(-np.minimum(distance / scale, 700))
        total[:-lag] += weight * rows[lag:]
        total[lag:] += weight * rows[:-lag]
        weights[:-lag] += weight
        weights[lag:] += weight
    return total / weights


def _shifted(count: int, lag: int) -> tuple[slice, slice]:
    """Return the rows t that have a row t + lag, and these rows."""
    return slice(max(0, -lag), max(0, count - max(0, lag))), slice(max(0, lag), max(0, count + min(0, lag)))


def filter_of(sola: Mapping[str, Any] | None) -> Filter | None:
    """Return the filter in a store's entry `sola`; None for plain features and for those of a module."""
    return None if sola is None or "filter" not in sola else Filter.from_json(sola["filter"])

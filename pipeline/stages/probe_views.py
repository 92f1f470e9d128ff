"""The views of features that a linear evaluation compares: stores as they are, filtered, or with turned channels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.config import ProbeConfig
from pipeline.errors import PipelineError
from pipeline.stages.filter_store import store_filter
from pipeline.store.feature_store import FeatureStore
from sola.config import SolaConfig, config_from_dict
from sola.filters import FILTERS, Filter, filter_of

ROTATED = "rotated"
_ROTATION_SEED = 0


@dataclass(frozen=True)
class View:
    """Features to evaluate: those of a store, changed in memory.

    Args:
        store: where they come from.
        kind: "" for the store as it is, the name of a filter, or "rotated".
        change: takes and returns the features [T, C] of a video.
    """

    store: FeatureStore
    kind: str
    change: Callable[[np.ndarray], np.ndarray]

    @property
    def title(self) -> str:
        """Return the name of the view for people."""
        return self.kind or str(self.store.path)


def views_of(stores: Sequence[FeatureStore], config: ProbeConfig) -> list[View]:
    """Return the views in the order of their columns: the first store, its controls, the other stores.

    Raises:
        PipelineError: filters or the rotation are asked for, and the first store is not of plain features.
    """
    first = stores[0]
    with_sola = [store.spec.sola for store in stores if store.spec.sola and not filter_of(store.spec.sola)]
    names = config.filters if config.filters is not None else FILTERS if with_sola and first.spec.sola is None else ()
    if (names or config.rotate) and first.spec.sola is not None:
        raise PipelineError(f"{first.path} is enhanced: filters and --rotate need the store that `extract` wrote first")
    settings = config_from_dict(with_sola[-1]["settings"]) if with_sola else SolaConfig()
    width = max(3, settings.receptive_snippets)
    views = [View(first, "", lambda features: features)]
    if config.rotate:
        streams = config.stream_channels or first.spec.stream_channels
        views.append(View(first, ROTATED, rotation(first.spec.channels, streams)))
    for name in names:
        by: Filter = store_filter(first, name, width=width)
        views.append(View(first, name, by.apply))
    return [*views, *(View(store, "", lambda features: features) for store in stores[1:])]


def rotation(channels: int, streams: Sequence[int]) -> Callable[[np.ndarray], np.ndarray]:
    """Return a random rotation of the channels, inside each stream; it changes no length and no cosine."""
    random = np.random.default_rng(_ROTATION_SEED)
    parts = []
    for width in streams or (channels,):
        turn, triangle = np.linalg.qr(random.normal(size=(width, width)))
        parts.append(turn * np.sign(np.diag(triangle)))
    ends = np.cumsum([len(part) for part in parts])[:-1]

    def turned(features: np.ndarray) -> np.ndarray:
        pieces = np.split(features.astype(np.float64), ends, axis=1)
        rows = [piece @ part for piece, part in zip(pieces, parts, strict=True)]
        return np.concatenate(rows, axis=1).astype(np.float32)

    return turned

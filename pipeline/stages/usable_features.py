"""The videos of a store whose features can be compared, and the mean that they are compared from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import PipelineError
from pipeline.segmentation.directions import mean_row
from pipeline.store.feature_store import FeatureStore


@dataclass
class UsableFeatures:
    """The usable videos of a store.

    Args:
        ids: sorted.
        mean: [C], of all of their rows.
        failed: why the other videos cannot be used, by id.
    """

    ids: list[str] = field(default_factory=list)
    mean: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    failed: dict[str, str] = field(default_factory=dict)


def usable_features(store: FeatureStore) -> UsableFeatures:
    """Read all features once.

    Raises:
        PipelineError: no video can be used.
    """
    found = UsableFeatures()
    if not store.ids():
        raise PipelineError(f"{store.path} has no features yet; run `extract` first")
    rows = _usable_rows(store, found)
    first = next(rows, None)
    if first is None:
        raise PipelineError(f"no video of {store.path} can be used; the first: {next(iter(found.failed.values()))}")
    found.mean = mean_row(part for some in ([first], rows) for part in some)
    return found


def _usable_rows(store: FeatureStore, found: UsableFeatures) -> Iterator[NDArray[np.floating]]:
    for video_id in store.ids():
        try:
            features = store.read(video_id).features
        except PipelineError as error:
            found.failed[video_id] = str(error)
            continue
        if len(features) == 0:
            found.failed[video_id] = "it is shorter than a snippet and has no features"
        elif not np.isfinite(features).all():
            found.failed[video_id] = "its features are not all finite; `verify --deep` tells more"
        else:
            found.ids.append(video_id)
            yield features

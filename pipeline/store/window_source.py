"""The sequences of a store, read window by window, to fit SoLa."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from pipeline.storage.local import cache_bytes
from pipeline.storage.location import RemotePath
from pipeline.store.feature_store import FeatureStore

_MAPPED = 256  # open memory maps: windows come from the same files over and over


class StoreSource:
    """A `sola.sampling.FeatureSource` over a store.

    Sequences of a remote store are copied whole, at their first use, until the cache is full. The others are read by
    byte ranges, all windows of a step at once, while the step before is computed: a window is a few rows of what may be
    hours, and copies that make room for each other would be fetched again and again.
    """

    def __init__(self, store: FeatureStore) -> None:
        self._store = store
        self._ids = store.ids()
        self._lengths = []
        self._starts = []  # byte of row 0 in each array
        self._row_bytes = store.spec.channels * np.dtype(store.spec.dtype).itemsize
        self._by_range: set[int] = set()
        room = cache_bytes() if store.is_remote else 0
        for index, video_id in enumerate(self._ids):
            rows = int(store.require_sidecar(video_id)["shape"][0])
            size = store.array_path(video_id).stat().st_size
            self._lengths.append(rows)
            self._starts.append(size - rows * self._row_bytes)
            room -= size
            if store.is_remote and room < 0:
                self._by_range.add(index)
        self._features = lru_cache(maxsize=_MAPPED)(lambda index: store.read(self._ids[index]).features)
        self._expected: dict[tuple[int, int, int], np.ndarray] = {}

    def __len__(self) -> int:
        return len(self._ids)

    def length(self, index: int) -> int:
        """Return T of sequence `index`."""
        return self._lengths[index]

    def rows(self, index: int, start: int, stop: int) -> np.ndarray:
        """Return rows [start, stop) of sequence `index`, [stop - start, C]."""
        if index not in self._by_range:
            return self._features(index)[start:stop]
        if (index, start, stop) not in self._expected:
            self.prefetch([(index, start, stop)])
        return self._expected[index, start, stop]

    def prefetch(self, windows: Sequence[tuple[int, int, int]]) -> None:
        """Read the windows (index, start, stop) that are used next, and forget the earlier ones."""
        wanted = sorted({window for window in windows if window[0] in self._by_range})
        folder = self._store.path / "features"
        if not wanted or not isinstance(folder, RemotePath):
            return
        ranges = []
        for index, start, stop in wanted:
            name = self._store.array_path(self._ids[index]).name
            first = self._starts[index]
            ranges.append((name, first + start * self._row_bytes, first + stop * self._row_bytes))
        dtype = np.dtype(self._store.spec.dtype).newbyteorder("<")
        self._expected = {
            window: np.frombuffer(data, dtype).reshape(-1, self._store.spec.channels)
            for window, data in zip(wanted, folder.read_ranges(ranges), strict=True)
        }

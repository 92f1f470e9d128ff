"""List what is in a store, from its sidecars alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from pipeline.store.feature_store import FeatureStore


@dataclass(frozen=True)
class SequenceLine:
    """One video of a store: its id, number of snippets, length in seconds, and dtype."""

    id: str
    rows: int
    seconds: float
    dtype: str

    def as_json(self) -> dict[str, Any]:
        """Return the fields as plain values."""
        return asdict(self)


@dataclass(frozen=True)
class StoreTotals:
    """A store in numbers.

    Args:
        videos: number that are done.
        hours: of video.
        rows: number of snippets.
        gigabytes: of features, in 10^9 bytes.
        failures: number of failed videos by class of failure.
        incomplete: number of videos whose files do not fit each other; `verify` tells more.
    """

    videos: int
    hours: float
    rows: int
    gigabytes: float
    failures: dict[str, int]
    incomplete: int

    def as_json(self) -> dict[str, Any]:
        """Return the fields as plain values."""
        return asdict(self)

    def lines(self) -> list[str]:
        """Return the totals as lines for people."""
        failed = ", ".join(f"{kind} {count}" for kind, count in sorted(self.failures.items())) or "none"
        lines = [
            f"videos    {self.videos}",
            f"hours     {self.hours:.2f}",
            f"rows      {self.rows}",
            f"GB        {self.gigabytes:.3f}",
            f"failures  {failed}",
        ]
        return [*lines, f"incomplete {self.incomplete}; run `verify`"] if self.incomplete else lines


def sequence_lines(store: FeatureStore) -> Iterator[SequenceLine]:
    """Yield the videos that are done, by id."""
    for video_id in store.ids():
        sidecar = store.sidecar(video_id)
        if sidecar is not None:
            seconds = float(sidecar["duration_seconds"])
            yield SequenceLine(video_id, int(sidecar["shape"][0]), seconds, store.spec.dtype)


def totals(store: FeatureStore) -> StoreTotals:
    """Return the store in numbers."""
    videos = rows = 0
    seconds = 0.0
    for line in sequence_lines(store):
        videos, rows, seconds = videos + 1, rows + line.rows, seconds + line.seconds
    done = set(store.ids())  # a video counts once, even if an older version left it both done and failed
    failed = [video_id for video_id in store.failed_ids() if video_id not in done]
    failures = Counter(str((store.failure(i) or {}).get("kind", "unreadable record")) for i in failed)
    size = rows * store.spec.channels * np.dtype(store.spec.dtype).itemsize
    return StoreTotals(videos, seconds / 3600, rows, size / 1e9, dict(failures), len(done) - videos)

"""Small feature stores made from arrays, so that what is measured on them is known."""

import json
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.snippets import SnippetPlan
from pipeline.store.feature_store import FeatureStore, StoreSpec

# Half a second a row, windows of one second: the center of row i is at (i + 1) / 2 seconds.
PLAN = SnippetPlan(fps=Fraction(10), window_frames=Fraction(10), stride_frames=Fraction(5), num_frames=2)


def make_store(
    path: Path, videos: Mapping[str, np.ndarray], *, plan: SnippetPlan = PLAN, sola: dict[str, Any] | None = None
) -> FeatureStore:
    """A store of the arrays [T, C]; each video lasts as long as its rows reach, T strides."""
    channels = next(iter(videos.values())).shape[1]
    spec = StoreSpec(
        channels=channels,
        dtype="float32",
        plan=plan,
        encoder={"name": "made"},
        weights={"name": "made", "sha256": "0" * 64, "random": True, "seed": 0},
        precision="fp32",
        decoder="auto",
        sola=sola,
    )
    store = FeatureStore.create(path, spec)
    for video_id, rows in videos.items():
        with store.writer(video_id) as writer:
            writer.append(rows)
            seconds = len(rows) * plan.stride_seconds
            details = {"duration_seconds": float(seconds), "duration_exact": str(seconds), "source": {"name": video_id}}
            writer.commit(details)
    return store


def annotate(path: Path, videos: Mapping[str, tuple[str, float, list[tuple[float, float, str]]]]) -> Path:
    """An annotation file of id: (subset, duration, [(start, end, label)])."""
    database = {
        video_id: {
            "subset": subset,
            "duration": duration,
            "annotations": [{"segment": [start, end], "label": label} for start, end, label in segments],
        }
        for video_id, (subset, duration, segments) in videos.items()
    }
    path.write_text(json.dumps({"version": "1", "database": database}))
    return path

"""The temporal self-similarity matrix (TSM) of a video in one or two stores, and SoLa's target for it.

This module computes the matrices; `pipeline.plots.tsm_figure` draws them. Long videos are binned to bound memory.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

import numpy as np

from pipeline.annotations import adopt_ids, fit_to_durations, read_annotations
from pipeline.annotations.segments import Segment
from pipeline.config import TsmConfig
from pipeline.errors import PipelineError
from pipeline.store.feature_store import FeatureSequence, FeatureStore
from pipeline.store.rates import fps_in
from pipeline.text.plain import counted
from sola.config import SolaConfig, config_from_dict
from sola.filters import filter_of
from sola.similarity import self_similarity, target_tsm

_CHUNK_ROWS = 4096
_NEARLY_PARALLEL = 0.95  # similarity, (1 + cos) / 2, of an angle of 26 degrees


@dataclass(frozen=True)
class Tsm:
    """The self-similarity of a video in one store.

    Args:
        title: the store, and whether its features went through SoLa.
        matrix: [B, B] float32 in [0, 1]; cell (i, j) compares the mean directions of bins i and j.
        bin_snippets: snippets in a bin; the last bin may have fewer.
        start_seconds: begin of the first cell: half a stride before the center of snippet 0.
        end_seconds: end of the last snippet's cell; it may lie inside the last bin.
        bin_seconds: length of a cell.
    """

    title: str
    matrix: np.ndarray
    bin_snippets: int
    start_seconds: float
    end_seconds: float
    bin_seconds: float


@dataclass(frozen=True)
class TsmView:
    """Everything that the picture shows.

    Args:
        video_id: the video.
        tsms: of one store, or of two.
        target: [B, B] float32, SoLa's target similarity, in the bins of the last of `tsms`.
        target_title: its settings.
        comparison: what was compared: the plain features (raw), or the features minus their mean over the video
            (centred).
        segments: of the video; empty without annotations.
        notes: remarks on the video and its annotations.
    """

    video_id: str
    tsms: tuple[Tsm, ...]
    target: np.ndarray
    target_title: str
    normalize: str
    segments: tuple[Segment, ...]
    notes: tuple[str, ...] = ()


def tsm_view(
    stores: list[FeatureStore], video_id: str, config: TsmConfig, *, annotations_file: Path | None = None
) -> TsmView:
    """Return the self-similarity of a video before and after SoLa, the target, and the video's segments.

    Args:
        stores: one, or two to compare.
        video_id: a video in all stores.
        annotations_file: ground truth, for the segments.
        config: of the picture.

    Raises:
        PipelineError: the video is not in a store (the nearest ids are named), or has no snippets.
    """
    sequences = [find_sequence(store, video_id) for store in stores]
    tsms = tuple(_tsm(store, sequence, config) for store, sequence in zip(stores, sequences, strict=True))
    settings = _sola_settings(stores)
    last = tsms[-1]
    # A bin is `bin_snippets` snippets long and an interval counts in steps: d = |i - j| * bin / step.
    k = settings.target_sharpness * (settings.position_stride / last.bin_snippets) ** 2
    target = target_tsm(len(last.matrix), k).numpy().astype(np.float32)
    title = f"target of SoLa by time alone: K = {settings.target_sharpness:g}, step {settings.position_stride}"
    notes = []
    if settings.input_weight > 0:
        notes.append("this module was fitted to an input-aware target; the picture shows the target by time alone")
    low = min(float(np.percentile(tsm.matrix, 1)) for tsm in tsms)
    if config.normalize == "none" and len(last.matrix) > 1 and low > _NEARLY_PARALLEL:
        notes.append(
            f"99 of 100 similarities are over {low:.4f}: the features are nearly parallel, and the picture shows "
            "differences in the last digits; --normalize center shows how snippets differ"
        )
    segments: tuple[Segment, ...] = ()
    if annotations_file is not None:
        segments, found = _segments(stores[0], sequences[0], annotations_file)
        notes += found
    return TsmView(sequences[0].id, tsms, target, title, config.normalize, segments, tuple(notes))


def find_sequence(store: FeatureStore, video_id: str) -> FeatureSequence:
    """Return the sequence of a video.

    Raises:
        PipelineError: the store does not have it (the nearest ids are named), or it has no snippets.
    """
    ids = store.ids()
    if video_id not in ids:
        nearest = get_close_matches(video_id, ids, n=3, cutoff=0.5) or ids[:3]
        raise PipelineError(
            f"video must be one of {counted(len(ids), 'id')} in {store.path}, got {video_id!r}; "
            f"nearest: {', '.join(nearest) or 'none'}"
        )
    sequence = store.read(video_id)
    if len(sequence.features) == 0:
        raise PipelineError(f"{video_id!r} in {store.path} is shorter than a snippet and has no features to compare")
    return sequence


def bin_rows(features: np.ndarray, bin_snippets: int, *, centred: bool = False) -> np.ndarray:
    """Return the mean direction of each bin, [ceil(T / bin_snippets), C] float32: the mean of its unit rows.

    Args:
        features: [T, C], memory-mapped or not; read some thousand rows at a time.
        bin_snippets: rows in a bin, >= 1.
        centred: subtract the mean of all rows first.
    """
    mean = np.mean(features, axis=0, dtype=np.float64).astype(np.float32) if centred else np.float32(0)
    rows_at_once = max(1, _CHUNK_ROWS // bin_snippets) * bin_snippets
    means = []
    for start in range(0, len(features), rows_at_once):
        rows = np.array(features[start : start + rows_at_once], dtype=np.float32) - mean
        rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), np.finfo(np.float32).tiny)
        starts = np.arange(0, len(rows), bin_snippets)
        sizes = np.diff(np.append(starts, len(rows)))
        means.append(np.add.reduceat(rows, starts, axis=0) / sizes[:, None])
    return np.concatenate(means)


def _tsm(store: FeatureStore, sequence: FeatureSequence, config: TsmConfig) -> Tsm:
    count, plan = len(sequence.features), sequence.plan
    bin_snippets = math.ceil(count / config.max_bins)
    stride = float(plan.stride_seconds)
    start = float(plan.window_seconds - plan.stride_seconds) / 2
    name = store.spec.encoder.get("name", "features")
    return Tsm(
        title=f"{store.path.resolve().name}: {name} {_way(store)}",
        matrix=self_similarity(bin_rows(sequence.features, bin_snippets, centred=config.normalize == "center")),
        bin_snippets=bin_snippets,
        start_seconds=start,
        end_seconds=start + count * stride,
        bin_seconds=bin_snippets * stride,
    )


def _way(store: FeatureStore) -> str:
    by = filter_of(store.spec.sola)
    return f"after {by.name}" if by else f"{'with' if store.spec.sola else 'without'} SoLa"


def _sola_settings(stores: list[FeatureStore]) -> SolaConfig:
    """Return the settings of the last enhanced store's module, or else the published ones."""
    fitted = [store.spec.sola["settings"] for store in stores if store.spec.sola and not filter_of(store.spec.sola)]
    return config_from_dict(fitted[-1]) if fitted else SolaConfig()


def _segments(
    store: FeatureStore, sequence: FeatureSequence, annotations_file: Path
) -> tuple[tuple[Segment, ...], list[str]]:
    read = read_annotations(annotations_file, subsets=(), fps_of=fps_in(store))
    annotations = adopt_ids(read, store.ids())
    if sequence.id not in annotations.videos:
        return (), [f"{annotations_file} has no video {sequence.id!r}: no segments are drawn"]
    fitted = fit_to_durations(annotations, {sequence.id: sequence.duration_seconds}, subsets=())
    video = fitted.videos[sequence.id]
    return (*video.segments, *video.ambiguous), list(fitted.problems)

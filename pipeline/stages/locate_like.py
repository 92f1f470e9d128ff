"""Stage: feature store + marked stretches → detections of what resembles them. No model, no training."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pipeline.annotations.segments import Detection, seconds_to_snippets, snippets_to_seconds
from pipeline.errors import PipelineError
from pipeline.progress import Report, silent
from pipeline.segmentation.directions import directions
from pipeline.segmentation.examples import Example, read_example
from pipeline.segmentation.retrieval import Rows, example_direction, likeness_of, stretches
from pipeline.stages.segment import usable_mean
from pipeline.store.feature_store import FeatureStore
from pipeline.store.sequence import FeatureSequence

_MOST = 100  # detections of a label in a video


def locate_like(
    store: FeatureStore, marked: Sequence[str], *, report: Report = silent
) -> tuple[dict[str, list[Detection]], dict[str, str]]:
    """Find what resembles marked stretches in all videos of a store, the stretches themselves among it.

    Features are compared less their mean over the store: plain ones are nearly parallel.

    Args:
        marked: at least one, as for `read_example`; several of one label are alternatives, the nearest counts.
        report: gets the share of videos done, 0 to 1.

    Returns:
        The detections by video id, their score is the mean cosine to the example; the videos that failed (id →
        reason).

    Raises:
        PipelineError: a stretch is not in its video, or no video can be read.
    """
    mean, failed = usable_mean(store)
    ids = [video_id for video_id in store.ids() if video_id not in failed]
    examples: dict[str, list[tuple[Rows, int]]] = {}
    for text in marked:
        example = read_example(text, ids)
        sequence = store.read(example.video_id)
        first, end = _rows_of(example, sequence)
        direction = example_direction(directions(sequence.features[first:end], mean))
        examples.setdefault(example.label, []).append((direction, end - first))
    found = {}
    for number, sequence in enumerate(store.sequences(ids)):
        rows = directions(sequence.features, mean)
        found[sequence.id] = [
            detection for label, of in examples.items() for detection in _detections(sequence, rows, label, of)
        ]
        report((number + 1) / len(ids), f"{number + 1}/{len(ids)} videos")
    return found, failed


def _rows_of(example: Example, sequence: FeatureSequence) -> tuple[int, int]:
    """Return the rows [first, end) whose centers lie in the stretch; of a shorter one, the nearest row."""
    start, end = example.segment
    if start >= sequence.duration_seconds:
        raise PipelineError(
            f"like {example.video_id}@{start:g}-{end:g}: the video lasts {sequence.duration_seconds:.2f} s"
        )
    plan, count = sequence.plan, len(sequence.features)
    clock = {"stride_seconds": float(plan.stride_seconds), "window_seconds": float(plan.window_seconds)}
    first, last = (seconds_to_snippets(time, **clock) for time in (start, end))
    low, high = max(0, int(np.ceil(first))), min(count, int(np.ceil(last)))
    if low < high:
        return low, high
    nearest = min(count - 1, max(0, round((first + last) / 2)))
    return nearest, nearest + 1


def _detections(
    sequence: FeatureSequence, rows: Rows, label: str, examples: Sequence[tuple[Rows, int]]
) -> list[Detection]:
    plan, duration = sequence.plan, sequence.duration_seconds
    clock = {"stride_seconds": float(plan.stride_seconds), "window_seconds": float(plan.window_seconds)}
    likeness = np.max([likeness_of(rows, direction, width) for direction, width in examples], axis=0)
    detections = []
    for first, end, score in stretches(likeness)[:_MOST]:
        start = 0.0 if first == 0 else float(snippets_to_seconds(first - 0.5, **clock))
        stop = duration if end == len(rows) else float(snippets_to_seconds(end - 0.5, **clock))
        if start < min(stop, duration):
            detections.append(Detection((start, min(stop, duration)), label, min(1.0, score)))
    return detections

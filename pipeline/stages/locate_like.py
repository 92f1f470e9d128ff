"""Stage: feature store + marked stretches → detections of what resembles them. No model, no training.

Each video is cut where its features change. The score of a segment is the cosine of its mean direction and that of the
marked stretch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from pipeline.annotations.segments import Detection, seconds_to_snippets
from pipeline.errors import PipelineError
from pipeline.progress import Report, silent
from pipeline.segmentation.cut import cut_video
from pipeline.segmentation.directions import Directions, directions, unit
from pipeline.segmentation.examples import Example, read_example
from pipeline.stages.usable_features import usable_features
from pipeline.store.feature_store import FeatureStore
from pipeline.store.sequence import FeatureSequence

Found = dict[str, list[Detection]]


def locate_like(store: FeatureStore, marked: Sequence[str], *, report: Report = silent) -> tuple[Found, dict[str, str]]:
    """Find what resembles marked stretches in all videos of a store; the stretches themselves are found as well.

    Args:
        marked: at least one, as for `read_example`; several of one label are alternatives, the nearest counts.
        report: gets the share of videos done, 0 to 1.

    Returns:
        The detections by video id, all with a cosine above 0, which is their score; the videos that failed (id →
        reason).

    Raises:
        PipelineError: a stretch is not in its video, or no video can be used.
    """
    usable = usable_features(store)
    examples: dict[str, list[Directions]] = {}
    for text in marked:
        example = read_example(text, usable.ids)
        sequence = store.read(example.video_id)
        rows = directions(sequence.features, usable.mean)[rows_in(example, sequence)]
        examples.setdefault(example.label, []).append(unit(rows.sum(axis=0, dtype=np.float64, keepdims=True))[0])
    found: Found = {}
    for number, sequence in enumerate(store.sequences(usable.ids)):
        cut = cut_video(sequence, usable.mean)
        found[sequence.id] = [
            Detection(segment, label, min(1.0, float(score)))
            for label, of in examples.items()
            for segment, score in zip(cut.segments, (cut.means @ np.stack(of).T).max(axis=1), strict=True)
            if score > 0
        ]
        report((number + 1) / len(usable.ids), f"{number + 1}/{len(usable.ids)} videos")
    return found, usable.failed


def best_of_each(found: Found, *, min_score: float, most: int | None) -> Found:
    """Return the detections of each video that reach a score, best first, at most so many."""
    good = {i: [one for one in of if one.score >= min_score] for i, of in found.items()}
    return {i: sorted(of, key=lambda one: -one.score)[:most] for i, of in good.items()}


def rows_in(example: Example, sequence: FeatureSequence) -> slice:
    """Return the rows whose centers lie in a stretch; the one in its middle if it is too short for any.

    Raises:
        PipelineError: the stretch begins after the end of the video.
    """
    start, end = example.segment
    if start >= sequence.duration_seconds:
        raise PipelineError(
            f"like {example.video_id}@{start:g}-{end:g}: the video lasts {sequence.duration_seconds:.2f} s only"
        )
    plan, count = sequence.plan, len(sequence.features)
    first, last = (
        float(
            seconds_to_snippets(
                time, stride_seconds=float(plan.stride_seconds), window_seconds=float(plan.window_seconds)
            )
        )
        for time in (start, end)
    )
    low, high = max(0, math.ceil(first)), min(count, math.ceil(last))
    if low < high:
        return slice(low, high)
    nearest = min(count - 1, max(0, round((first + last) / 2)))
    return slice(nearest, nearest + 1)

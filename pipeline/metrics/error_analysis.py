"""The kinds of errors that detections make, the cost of each kind, and the missed segments.

Source: Alwassel et al. 2018, "Diagnosing Error in Temporal Action Detectors" (DETAD, arXiv 1807.10706), sections 4
and 5.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.annotations.segments import Detection, Segment
from pipeline.errors import PipelineError
from pipeline.metrics.map import Matched, average_precision, length_bounds, length_index, match_all
from pipeline.metrics.matching import FREE, Table, rank_in_group, tiou_array

KINDS = ("true positive", "double detection", "wrong label", "localization", "confusion", "background")
TRUE_POSITIVE, DOUBLE, WRONG_LABEL, LOCALIZATION, CONFUSION, BACKGROUND = range(len(KINDS))
BACKGROUND_TIOU = 0.1
GROUPS = 10


@dataclass(frozen=True)
class ErrorAnalysis:
    """Errors at one threshold `tiou`, among the best 10 G detections of each class, which has G segments.

    `counts` [10, 6]: detections of each kind (`KINDS`) in the first G, second G, ... of the ranking.
    `map` is the mean average precision of these detections; `gain` [6] is how much it rises without the errors of a
    kind (0 for true positives). `segments` [L] and `missed` [L] count the ground truth of each length, and how much of
    it no detection matches; length l ends at `bounds_seconds[l]`, the last has no end.
    """

    tiou: float
    counts: np.ndarray
    map: float
    gain: np.ndarray
    bounds_seconds: tuple[float, ...]
    segments: np.ndarray
    missed: np.ndarray


def analyse_errors(
    ground_truth: Mapping[str, Sequence[Segment]],
    detections: Mapping[str, Sequence[Detection]],
    *,
    bounds_seconds: Sequence[float],
    tiou: float = 0.5,
    protocol: str = "activitynet",
    blocked_videos: Collection[str] = (),
) -> ErrorAnalysis:
    """Return the kinds of errors, their cost, and the missed segments by length.

    A detection that matches no segment is the first that applies: a double detection (it reaches `tiou` with a segment
    of its class, which a better one has matched), a wrong label (it reaches `tiou` with a segment of another class), a
    localization error (at least 0.1 with its class), a confusion (at least 0.1 with another), or background.
    Detections that the protocol ignores are left out.

    Args:
        bounds_seconds: ascending upper bounds of all lengths except the last.
        tiou: the threshold, above 0.1 and at most 1.
    """
    if not BACKGROUND_TIOU < tiou <= 1:
        raise PipelineError(f"tiou must be > {BACKGROUND_TIOU} and <= 1, got {tiou}")
    matched = match_all(
        ground_truth, detections, thresholds=np.array([tiou]), protocol=protocol, blocked_videos=blocked_videos
    )
    sizes = np.bincount(matched.truth.label, minlength=len(matched.labels))
    rank = rank_in_group(matched.found.label)
    group = rank // sizes[matched.found.label]
    looked_at = np.flatnonzero((group < GROUPS) & matched.counted[:, 0])
    kind = _kinds(matched, looked_at, tiou)
    counts = np.zeros((GROUPS, len(KINDS)), dtype=np.int64)
    np.add.at(counts, (group[looked_at], kind), 1)
    base = _mean_ap(matched.found.label[looked_at], kind, sizes)
    gain = np.zeros(len(KINDS))
    for error in range(1, len(KINDS)):
        rest = kind != error
        gain[error] = _mean_ap(matched.found.label[looked_at][rest], kind[rest], sizes) - base

    bounds = length_bounds(bounds_seconds)
    length = length_index(matched.truth.segment, bounds)
    taken = matched.taken[looked_at, 0]
    is_missed = np.ones(len(length), dtype=bool)
    is_missed[taken[taken != FREE]] = False
    return ErrorAnalysis(
        tiou=tiou,
        counts=counts,
        map=base,
        gain=gain,
        bounds_seconds=tuple(bounds.tolist()),
        segments=np.bincount(length, minlength=len(bounds) + 1),
        missed=np.bincount(length[is_missed], minlength=len(bounds) + 1),
    )


def _kinds(matched: Matched, rows: np.ndarray, threshold: float) -> np.ndarray:
    """Return the kind of each of the detections `rows`, [R]."""
    same, other = _best_overlaps(matched.truth, matched.found.select(rows))
    conditions = [
        matched.taken[rows, 0] != FREE,
        same >= threshold,
        other >= threshold,
        same >= BACKGROUND_TIOU,
        other >= BACKGROUND_TIOU,
    ]
    return np.select(conditions, list(range(len(conditions))), default=BACKGROUND)


def _best_overlaps(truth: Table, found: Table) -> tuple[np.ndarray, np.ndarray]:
    """Return the highest tIoU of each detection with segments of its class, and of other classes; 0 without any."""
    same, other = np.zeros(len(found.score)), np.zeros(len(found.score))
    truth_order, found_order = (np.argsort(table.video, kind="stable") for table in (truth, found))
    truth_video, found_video = truth.video[truth_order], found.video[found_order]
    for video in np.unique(found_video):
        rows = found_order[slice(*np.searchsorted(found_video, [video, video + 1]))]
        segments = truth_order[slice(*np.searchsorted(truth_video, [video, video + 1]))]
        if len(segments):
            overlap = tiou_array(found.segment[rows, None], truth.segment[segments])
            equal = found.label[rows, None] == truth.label[segments]
            same[rows] = np.where(equal, overlap, 0.0).max(axis=1)
            other[rows] = np.where(equal, 0.0, overlap).max(axis=1)
    return same, other


def _mean_ap(label: np.ndarray, kind: np.ndarray, sizes: np.ndarray) -> float:
    per_class = [
        average_precision((kind[label == k] == TRUE_POSITIVE)[:, None], int(size))[0] for k, size in enumerate(sizes)
    ]
    return float(np.mean(per_class))

"""Mean average precision over classes and tIoU thresholds.

Letters: K classes, N thresholds, D detections, L lengths.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.annotations.segments import Detection, Segment
from pipeline.errors import PipelineError
from pipeline.metrics.matching import FREE, Table, match_greedily, tabulate, tiou_array
from pipeline.metrics.protocols import ACTIVITYNET_TIOUS as ACTIVITYNET_TIOUS
from pipeline.metrics.protocols import THUMOS_TIOUS as THUMOS_TIOUS
from pipeline.metrics.protocols import Prepared, find_protocol, prepare

# Upper bounds of the lengths XS to L; XL has none. Source: DETAD (arXiv 1807.10706), and its use for THUMOS14.
ACTIVITYNET_LENGTHS_SECONDS = (30.0, 60.0, 120.0, 180.0)
THUMOS_LENGTHS_SECONDS = (3.0, 6.0, 12.0, 18.0)


@dataclass(frozen=True)
class MapResult:
    """Average precision `per_class` [K, N], `map` [N] its mean over classes, `average` its mean over both.

    `labels` (K, sorted, all classes of the ground truth) and `tious` (N) name the axes. `segments` is the number
    of ground-truth segments [K]; `detections` counts the evaluated ones, `unknown_class_detections` those ignored
    because their class is not in the ground truth. `protocol` and its `rules` are the choices made;
    `duplicates_removed`, `short_removed` (segments) and `videos_blocked` count what they removed.
    """

    labels: tuple[str, ...]
    tious: tuple[float, ...]
    per_class: np.ndarray
    map: np.ndarray
    average: float
    segments: np.ndarray
    detections: int
    unknown_class_detections: int
    protocol: str
    rules: tuple[str, ...]
    duplicates_removed: int
    short_removed: int
    videos_blocked: int


@dataclass(frozen=True)
class LengthResult:
    """`map` [L, N] over the classes that have segments of each length, NaN if no class has any; `average` [L].

    Length l holds segments longer than `bounds_seconds[l - 1]` and at most `bounds_seconds[l]`, the last all longer
    ones; `segments` [L] counts them.
    """

    bounds_seconds: tuple[float, ...]
    tious: tuple[float, ...]
    map: np.ndarray
    average: np.ndarray
    segments: np.ndarray


@dataclass(frozen=True)
class Matched:
    """Ground truth and detections as the protocol prepares them (`sides`), as tables, and their matching.

    `truth` and `found` (by descending score) are the tables. `taken` [D, N]: the row of `truth` that each detection
    matches at each threshold, or -1; `counted` [D, N] bool: False where the protocol ignores a detection; `unknown`:
    number of detections left out because of their class.
    """

    sides: Prepared
    labels: tuple[str, ...]
    truth: Table
    found: Table
    taken: np.ndarray
    counted: np.ndarray
    unknown: int


def evaluate_map(
    ground_truth: Mapping[str, Sequence[Segment]],
    detections: Mapping[str, Sequence[Detection]],
    *,
    tious: Sequence[float] | None = None,
    protocol: str = "activitynet",
    blocked_videos: Collection[str] = (),
) -> MapResult:
    """Return the mean average precision as ActivityNet's evaluation defines it, with the choices of `protocol`.

    Each class takes the detections of all videos by descending score. A detection looks at its video's ground truth of
    the class that no earlier detection has matched; it is a true positive if the segment of highest tIoU reaches the
    threshold. Average precision is the area under the precision made monotonic from the right (VOC 2011). Equal scores
    are ordered by sorted video id, then as in the video's list; of equal tIoUs the first segment in the list counts.

    Args:
        ground_truth: segments of each video id; the classes are those named here.
        detections: of each video id. On videos without ground truth they are false positives (for videos that
            `ground_truth` does not name, if the protocol says so); those of unknown classes are ignored and counted.
        tious: thresholds, > 0 and <= 1; the protocol's own if None.
        protocol: a name in `protocols.PROTOCOLS`, which lists the choices.
        blocked_videos: video ids to leave out on both sides, for protocols that use such a list.

    Source: Caba Heilbron et al., ActivityNet (CVPR 2015), and its published evaluation's definition.
    """
    chosen = find_protocol(protocol)
    thresholds = _thresholds(chosen.tious if tious is None else tious)
    matched = match_all(
        ground_truth, detections, thresholds=thresholds, protocol=protocol, blocked_videos=blocked_videos
    )
    counts = np.bincount(matched.truth.label, minlength=len(matched.labels))
    hit = matched.taken != FREE
    per_class = np.stack(
        [
            average_precision(hit[rows], int(counts[k]), counted=matched.counted[rows])
            for k, rows in enumerate(_rows_by_class(matched))
        ]
    )
    by_tiou = per_class.mean(axis=0)
    return MapResult(
        labels=matched.labels,
        tious=tuple(thresholds.tolist()),
        per_class=per_class,
        map=by_tiou,
        average=float(by_tiou.mean()),
        segments=counts,
        detections=len(matched.found.score),
        unknown_class_detections=matched.unknown,
        protocol=protocol,
        rules=chosen.rules,
        duplicates_removed=matched.sides.duplicates_removed,
        short_removed=matched.sides.short_removed,
        videos_blocked=matched.sides.videos_blocked,
    )


def evaluate_by_length(
    ground_truth: Mapping[str, Sequence[Segment]],
    detections: Mapping[str, Sequence[Detection]],
    *,
    bounds_seconds: Sequence[float],
    tious: Sequence[float] | None = None,
    protocol: str = "activitynet",
    blocked_videos: Collection[str] = (),
) -> LengthResult:
    """Return the mean average precision for the segments of each length.

    Matching is that of `evaluate_map`, once for all lengths. For one length, detections that match a segment of another
    length are not counted, nor are unmatched detections that are of another length themselves.

    Args:
        bounds_seconds: ascending upper bounds of all lengths except the last, e.g. `THUMOS_LENGTHS_SECONDS`.
    """
    bounds = length_bounds(bounds_seconds)
    thresholds = _thresholds(find_protocol(protocol).tious if tious is None else tious)
    matched = match_all(
        ground_truth, detections, thresholds=thresholds, protocol=protocol, blocked_videos=blocked_videos
    )
    truth_length = length_index(matched.truth.segment, bounds)
    # A detection has the length of the segment that it matches, else its own.
    own_length = np.repeat(length_index(matched.found.segment, bounds)[:, None], len(thresholds), axis=1)
    length = np.where(matched.taken != FREE, truth_length[matched.taken], own_length)
    result = np.full((len(bounds) + 1, len(thresholds)), np.nan)
    for at in range(len(bounds) + 1):
        counts = np.bincount(matched.truth.label[truth_length == at], minlength=len(matched.labels))
        per_class = [
            average_precision(
                (matched.taken[rows] != FREE) & (length[rows] == at),
                int(counts[k]),
                counted=matched.counted[rows] & (length[rows] == at),
            )
            for k, rows in enumerate(_rows_by_class(matched))
            if counts[k]
        ]
        if per_class:
            result[at] = np.mean(per_class, axis=0)
    sizes = np.bincount(truth_length, minlength=len(bounds) + 1)
    return LengthResult(tuple(bounds.tolist()), tuple(thresholds.tolist()), result, result.mean(axis=1), sizes)


def match_all(
    ground_truth: Mapping[str, Sequence[Segment]],
    detections: Mapping[str, Sequence[Detection]],
    *,
    thresholds: np.ndarray,
    protocol: str,
    blocked_videos: Collection[str],
) -> Matched:
    """Prepare both sides as the protocol says, and match them at every threshold."""
    sides = prepare(ground_truth, detections, protocol=protocol, blocked_videos=blocked_videos)
    labels = sorted({segment.label for segments in sides.ground_truth.values() for segment in segments})
    if not labels:
        raise PipelineError("ground_truth must have at least one segment, got none; check the subset")
    videos = sorted({*sides.ground_truth, *sides.detections})
    truth, _ = tabulate(sides.ground_truth, videos, labels)
    found, unknown = tabulate(sides.detections, videos, labels)
    found = found.select(np.argsort(-found.score, kind="stable"))
    taken = match_greedily(truth, found, thresholds)
    counted = (taken != FREE) | ~_on_ambiguous(found, sides.ambiguous, videos)[:, None]
    return Matched(sides, tuple(labels), truth, found, taken, counted, unknown)


def average_precision(positive: np.ndarray, segments: int, *, counted: np.ndarray | None = None) -> np.ndarray:
    """Return the interpolated average precision [N] of detections sorted by descending score.

    Args:
        positive: [D, N] bool, whether each detection is a true positive.
        segments: number of ground-truth segments, >= 1.
        counted: [D, N] bool, False for detections to ignore; None counts all. True wherever `positive` is.
    """
    hits = positive.cumsum(axis=0)
    ranks = np.ones_like(hits).cumsum(axis=0) if counted is None else counted.cumsum(axis=0)
    precision = hits / np.maximum(ranks, 1)
    envelope = np.maximum.accumulate(precision[::-1], axis=0)[::-1]
    return np.asarray((positive * envelope).sum(axis=0) / segments)


def length_bounds(bounds_seconds: Sequence[float]) -> np.ndarray:
    """Return the upper bounds of all lengths except the last, checked.

    Raises:
        PipelineError: they are not ascending numbers > 0.
    """
    bounds = np.asarray(bounds_seconds, dtype=np.float64)
    if len(bounds) == 0 or not (np.diff(bounds, prepend=0) > 0).all():
        raise PipelineError(f"bounds_seconds must be rising numbers > 0, got {bounds_seconds}")
    return bounds


def length_index(segments: np.ndarray, bounds: np.ndarray) -> np.ndarray:
    """Return the length index of each segment [R, 2], [R] int64; a bound belongs to the shorter length."""
    return np.searchsorted(bounds, segments[:, 1] - segments[:, 0], side="left")


def _on_ambiguous(found: Table, ambiguous: Mapping[str, Sequence[Segment]], videos: Sequence[str]) -> np.ndarray:
    """Return [D] bool: whether a detection overlaps an ambiguous segment of its video at all."""
    touches = np.zeros(len(found.score), dtype=bool)
    for index, video in enumerate(videos):
        if ambiguous.get(video):
            rows = np.flatnonzero(found.video == index)
            segments = np.array([segment.segment for segment in ambiguous[video]], dtype=np.float64)
            touches[rows] = (tiou_array(found.segment[rows, None], segments) > 0).any(axis=1)
    return touches


def _rows_by_class(matched: Matched) -> list[np.ndarray]:
    order = np.argsort(matched.found.label, kind="stable")
    counts = np.bincount(matched.found.label, minlength=len(matched.labels))
    return np.split(order, np.cumsum(counts)[:-1])


def _thresholds(tious: Sequence[float]) -> np.ndarray:
    thresholds = np.asarray(tious, dtype=np.float64)
    if thresholds.ndim != 1 or len(thresholds) == 0 or not ((thresholds > 0) & (thresholds <= 1)).all():
        raise PipelineError(f"tious must be one or more numbers > 0 and <= 1, got {tious}")
    return thresholds

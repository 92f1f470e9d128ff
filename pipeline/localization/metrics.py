"""Mean average precision over classes and tIoU thresholds, vectorised over thresholds and videos.

Letters: K classes, N thresholds, D detections, G pairs of a class and a video with ground truth, M ground-truth
segments of such a pair.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.errors import PipelineError
from pipeline.localization.segments import Detection, Segment

ACTIVITYNET_TIOUS = (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)
THUMOS_TIOUS = (0.3, 0.4, 0.5, 0.6, 0.7)


@dataclass(frozen=True)
class MapResult:
    """``per_class`` [K, N] average precision, ``map`` [N] its mean over classes, ``average`` its mean over both.

    ``labels`` (K, sorted, all classes of the ground truth) and ``tious`` (N) name the axes. ``segments`` is the number
    of ground-truth segments [K]; ``detections`` counts those that were evaluated; ``unknown_class_detections`` those
    that were ignored because their class is not in the ground truth.
    """

    labels: tuple[str, ...]
    tious: tuple[float, ...]
    per_class: np.ndarray
    map: np.ndarray
    average: float
    segments: np.ndarray
    detections: int
    unknown_class_detections: int


@dataclass(frozen=True)
class Table:
    """Labelled segments as arrays: ``video``, ``label`` [R] int64, ``segment`` [R, 2] and ``score`` [R] float64."""

    video: np.ndarray
    label: np.ndarray
    segment: np.ndarray
    score: np.ndarray

    def select(self, index: np.ndarray) -> "Table":
        """The rows at ``index`` (positions, or a bool mask)."""
        return Table(self.video[index], self.label[index], self.segment[index], self.score[index])


def evaluate_map(
    ground_truth: Mapping[str, Sequence[Segment]],
    detections: Mapping[str, Sequence[Detection]],
    *,
    tious: Sequence[float] = ACTIVITYNET_TIOUS,
) -> MapResult:
    """Mean average precision as ActivityNet's evaluation defines it.

    For each class the detections of all videos are taken by falling score. Each is a true positive if, of its video's
    ground truth of the class that no earlier one has taken, the segment of highest tIoU reaches the threshold. Average
    precision is the area under the precision made monotonous from the right (VOC 2011). Equal scores are taken in the
    order of sorted video ids, then of the video's list; of equal tIoUs the first segment in the list.

    Args:
        ground_truth: segments of each video id; the classes are those named here.
        detections: of each video id; on videos without ground truth they are false positives, and of unknown classes
            they are ignored and counted.
        tious: thresholds, > 0 and <= 1.

    Source: Caba Heilbron et al., ActivityNet (CVPR 2015), and its published evaluation's definition.
    """
    thresholds = np.asarray(tious, dtype=np.float64)
    if thresholds.ndim != 1 or len(thresholds) == 0 or not ((thresholds > 0) & (thresholds <= 1)).all():
        raise PipelineError(f"tious must be one or more numbers > 0 and <= 1, got {tious}")
    labels = sorted({segment.label for segments in ground_truth.values() for segment in segments})
    if not labels:
        raise PipelineError("ground_truth must have at least one segment, got none; check the subset")
    videos = sorted({*ground_truth, *detections})
    truth, _ = tabulate(ground_truth, videos, labels)
    found, unknown = tabulate(detections, videos, labels)
    found = found.select(np.argsort(-found.score, kind="stable"))
    positive = true_positives(truth, found, thresholds)
    counts = np.bincount(truth.label, minlength=len(labels))
    per_class = np.stack([average_precision(positive[found.label == k], int(counts[k])) for k in range(len(labels))])
    by_tiou = per_class.mean(axis=0)
    return MapResult(
        labels=tuple(labels),
        tious=tuple(thresholds.tolist()),
        per_class=per_class,
        map=by_tiou,
        average=float(by_tiou.mean()),
        segments=counts,
        detections=len(found.score),
        unknown_class_detections=unknown,
    )


def tabulate(
    listing: Mapping[str, Sequence[Segment]] | Mapping[str, Sequence[Detection]],
    videos: Sequence[str],
    labels: Sequence[str],
) -> tuple[Table, int]:
    """The listing as arrays, videos in the order of ``videos``, and how many were left out for unknown labels."""
    label_index = {label: index for index, label in enumerate(labels)}
    rows = [(v, row) for v, video in enumerate(videos) for row in listing.get(video, ())]
    known = [(v, row) for v, row in rows if row.label in label_index]
    table = Table(
        video=np.array([v for v, _ in known], dtype=np.int64),
        label=np.array([label_index[row.label] for _, row in known], dtype=np.int64),
        segment=np.array([row.segment for _, row in known], dtype=np.float64).reshape(-1, 2),
        score=np.array([getattr(row, "score", 1.0) for _, row in known], dtype=np.float64),
    )
    for name, values in (("segment", table.segment), ("score", table.score)):
        if not np.isfinite(values).all():
            bad = known[int(np.argmin(np.isfinite(values.reshape(len(known), -1)).all(axis=1)))]
            raise PipelineError(f"{name} must be finite, got {bad[1]} of video {videos[bad[0]]!r}")
    return table, len(rows) - len(known)


def average_precision(positive: np.ndarray, segments: int) -> np.ndarray:
    """Interpolated average precision [N] of detections by falling score.

    Args:
        positive: [D, N] bool, whether each detection is a true positive.
        segments: number of ground-truth segments, >= 1.
    """
    hits = positive.cumsum(axis=0)
    precision = hits / np.arange(1, len(positive) + 1)[:, None]
    envelope = np.maximum.accumulate(precision[::-1], axis=0)[::-1]
    return np.asarray((positive * envelope).sum(axis=0) / segments)


def true_positives(truth: Table, found: Table, tious: np.ndarray) -> np.ndarray:
    """[D, N] bool: which detections, by falling score, match a segment of their video and class that is still free.

    Args:
        truth: ground truth in any order.
        found: detections by falling score.
        tious: [N] thresholds.
    """
    positive = np.zeros((len(found.score), len(tious)), dtype=bool)
    videos = int(max(truth.video.max(initial=0), found.video.max(initial=0))) + 1
    truth_key = truth.label * videos + truth.video
    keys, truth_group, sizes = np.unique(truth_key, return_inverse=True, return_counts=True)
    found_key = found.label * videos + found.video
    found_group = np.minimum(np.searchsorted(keys, found_key), len(keys) - 1)
    # What has no ground truth of its class in its video is a false positive at every threshold.
    possible = np.flatnonzero(keys[found_group] == found_key)
    # Pairs of similar size are matched together, so that padding them to one M costs at most twice.
    size_class = np.ceil(np.log2(sizes)).astype(int)
    for each in np.unique(size_class):
        chosen = np.flatnonzero(size_class == each)
        rows = possible[size_class[found_group[possible]] == each]
        slot = np.full(len(keys), -1)
        slot[chosen] = np.arange(len(chosen))
        segments, exists = _padded(truth.segment, slot[truth_group], sizes[chosen])
        positive[rows] = _match(found.segment[rows], slot[found_group[rows]], segments, exists, tious)
    return positive


def _padded(segments: np.ndarray, group: np.ndarray, sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Segments as [G, M, 2] in their order, and [G, M] bool where there is one; group -1 is left out."""
    order = np.flatnonzero(group >= 0)
    order = order[np.argsort(group[order], kind="stable")]
    exists = np.arange(sizes.max()) < sizes[:, None]
    padded = np.zeros((*exists.shape, 2))
    padded[exists] = segments[order]
    return padded, exists


def _match(
    segments: np.ndarray, group: np.ndarray, truth: np.ndarray, exists: np.ndarray, tious: np.ndarray
) -> np.ndarray:
    """Greedy matching in all groups at once: first the best detection of each group, then the second of each, ..."""
    positive = np.zeros((len(group), len(tious)), dtype=bool)
    free = np.repeat(exists[:, :, None], len(tious), axis=2)
    threshold = np.arange(len(tious))
    for rows in _rounds(group):
        groups = group[rows]
        overlap = tiou(segments[rows, None], truth[groups])[:, :, None]  # [R, M, 1]
        allowed = free[groups] & (overlap >= tious)
        best = np.where(allowed, overlap, -1.0).argmax(axis=1)  # [R, N]
        hit = np.take_along_axis(allowed, best[:, None], axis=1)[:, 0]
        positive[rows] = hit
        free[groups[:, None], best, threshold] &= ~hit
    return positive


def _rounds(group: np.ndarray) -> list[np.ndarray]:
    """Rows in rounds: round r holds the r-th row of every group that has that many."""
    order = np.argsort(group, kind="stable")
    _, first, sizes = np.unique(group[order], return_index=True, return_counts=True)
    rank = np.empty(len(group), dtype=np.int64)
    rank[order] = np.arange(len(group)) - np.repeat(first, sizes)
    by_rank = np.argsort(rank, kind="stable")
    return np.split(by_rank, np.cumsum(np.bincount(rank))[:-1]) if len(group) else []


def tiou(one: np.ndarray, many: np.ndarray) -> np.ndarray:
    """Temporal intersection over union of segments [..., 2], broadcast; 0 where the union is empty."""
    overlap = np.minimum(one[..., 1], many[..., 1]) - np.maximum(one[..., 0], many[..., 0])
    overlap = np.maximum(overlap, 0.0)
    union = (one[..., 1] - one[..., 0]) + (many[..., 1] - many[..., 0]) - overlap
    return np.divide(overlap, union, out=np.zeros_like(overlap), where=union > 0)

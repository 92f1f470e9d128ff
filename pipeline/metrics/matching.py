"""Detections and ground truth as arrays, and the greedy matching between them.

Letters: D detections, N thresholds, G pairs of a class and a video with ground truth, M segments of such a pair.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.annotations.segments import Detection, Segment
from pipeline.errors import PipelineError

FREE = -1


@dataclass(frozen=True)
class Table:
    """Labeled segments as arrays: `video`, `label` [R] int64, `segment` [R, 2] and `score` [R] float64."""

    video: np.ndarray
    label: np.ndarray
    segment: np.ndarray
    score: np.ndarray

    def select(self, index: np.ndarray) -> "Table":
        """Return the rows at `index` (positions, or a bool mask)."""
        return Table(self.video[index], self.label[index], self.segment[index], self.score[index])


def tabulate(
    listing: Mapping[str, Sequence[Segment]] | Mapping[str, Sequence[Detection]],
    videos: Sequence[str],
    labels: Sequence[str],
) -> tuple[Table, int]:
    """Return the listing as arrays, videos in the order of `videos`, and how many rows have unknown labels.

    Rows with unknown labels are left out.

    Raises:
        PipelineError: a segment or score is not finite.
    """
    counts = [len(listing.get(video, ())) for video in videos]
    rows = [row for video in videos for row in listing.get(video, ())]
    label_index = {label: index for index, label in enumerate(labels)}
    label = np.array([label_index.get(row.label, -1) for row in rows], dtype=np.int64)
    table = Table(
        video=np.repeat(np.arange(len(videos)), counts),
        label=label,
        segment=np.array([row.segment for row in rows], dtype=np.float64).reshape(-1, 2),
        score=np.array([getattr(row, "score", 1.0) for row in rows], dtype=np.float64),
    )
    for name, values in (("segment", table.segment), ("score", table.score[:, None])):
        finite = np.isfinite(values).all(axis=1)
        if not finite.all():
            bad = int(np.argmin(finite))
            raise PipelineError(f"{name} must be finite, got {rows[bad]} of video {videos[table.video[bad]]!r}")
    known = label >= 0
    return table.select(known), int((~known).sum())


def match_greedily(truth: Table, found: Table, tious: np.ndarray) -> np.ndarray:
    """Return the row of `truth` that each detection matches at each threshold, or -1: [D, N] int64.

    In their order, detections match the free segment of their video and class of the highest tIoU, if it reaches the
    threshold; of equal tIoUs the first.

    Args:
        truth: ground truth in any order.
        found: detections by descending score.
        tious: [N] thresholds.
    """
    taken = np.full((len(found.score), len(tious)), FREE)
    if len(truth.score) == 0 or len(found.score) == 0:
        return taken
    videos = int(max(truth.video.max(), found.video.max())) + 1
    keys, truth_group, sizes = np.unique(truth.label * videos + truth.video, return_inverse=True, return_counts=True)
    found_key = found.label * videos + found.video
    found_group = np.minimum(np.searchsorted(keys, found_key), len(keys) - 1)
    # A detection without ground truth of its class in its video matches nothing at any threshold.
    possible = np.flatnonzero(keys[found_group] == found_key)
    # Match pairs of similar size together: padding them to one M at most doubles the cost.
    size_class = np.ceil(np.log2(sizes)).astype(int)
    for each in np.unique(size_class):
        chosen = np.flatnonzero(size_class == each)
        rows = possible[size_class[found_group[possible]] == each]
        slot = np.full(len(keys), FREE)
        slot[chosen] = np.arange(len(chosen))
        truth_rows = _padded_rows(slot[truth_group], sizes[chosen])
        taken[rows] = _match(found.segment[rows], slot[found_group[rows]], truth.segment, truth_rows, tious)
    return taken


def _padded_rows(group: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Return [G, M]: the rows of each group in their order, then -1; rows of group -1 are left out."""
    order = np.flatnonzero(group >= 0)
    order = order[np.argsort(group[order], kind="stable")]
    exists = np.arange(sizes.max()) < sizes[:, None]
    padded = np.full(exists.shape, FREE)
    padded[exists] = order
    return padded


def _match(
    segments: np.ndarray, group: np.ndarray, truth: np.ndarray, truth_rows: np.ndarray, tious: np.ndarray
) -> np.ndarray:
    """Match all groups at once: first the best detection of each group, then the second of each, ..."""
    taken = np.full((len(group), len(tious)), FREE)
    free = np.repeat(truth_rows[:, :, None] >= 0, len(tious), axis=2)
    threshold = np.arange(len(tious))
    for rows in _rounds(group):
        groups = group[rows]
        overlap = tiou_array(segments[rows, None], truth[truth_rows[groups]])[:, :, None]  # [R, M, 1]
        allowed = free[groups] & (overlap >= tious)
        best = np.where(allowed, overlap, -1.0).argmax(axis=1)  # [R, N]
        hit = np.take_along_axis(allowed, best[:, None], axis=1)[:, 0]
        taken[rows] = np.where(hit, truth_rows[groups[:, None], best], FREE)
        free[groups[:, None], best, threshold] &= ~hit
    return taken


def rank_in_group(group: np.ndarray) -> np.ndarray:
    """Return how many rows of the same group come before each row, [R]."""
    order = np.argsort(group, kind="stable")
    _, first, sizes = np.unique(group[order], return_index=True, return_counts=True)
    rank = np.empty(len(group), dtype=np.int64)
    rank[order] = np.arange(len(group)) - np.repeat(first, sizes)
    return rank


def _rounds(group: np.ndarray) -> list[np.ndarray]:
    """Return rows in rounds: round r holds the r-th row of every group that has more than r rows."""
    rank = rank_in_group(group)
    by_rank = np.argsort(rank, kind="stable")
    return np.split(by_rank, np.cumsum(np.bincount(rank))[:-1]) if len(group) else []


def tiou_array(one: np.ndarray, many: np.ndarray) -> np.ndarray:
    """Return the temporal intersection over union of segments [..., 2], broadcast; 0 where the union is empty.

    `pipeline.heads.candidates.tiou` is the same for tensors; this one does not need torch.
    """
    overlap = np.minimum(one[..., 1], many[..., 1]) - np.maximum(one[..., 0], many[..., 0])
    overlap = np.maximum(overlap, 0.0)
    union = (one[..., 1] - one[..., 0]) + (many[..., 1] - many[..., 0]) - overlap
    return np.divide(overlap, union, out=np.zeros_like(overlap), where=union > 0)

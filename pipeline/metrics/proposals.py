"""Average recall of class-agnostic proposals against their average number, and the area under that curve."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.annotations.segments import Detection, Segment
from pipeline.errors import PipelineError
from pipeline.metrics.matching import tiou
from pipeline.metrics.protocols import ACTIVITYNET_TIOUS


@dataclass(frozen=True)
class RecallResult:
    """``recall`` [N, A] at each threshold and each average number of proposals a video, 1 to A.

    ``average`` [A] is its mean over thresholds (AR@AN is ``average[AN - 1]``); ``auc`` is the area under it from 1 to A
    divided by A, from 0 to 1.
    """

    tious: tuple[float, ...]
    recall: np.ndarray
    average: np.ndarray
    auc: float


def average_recall(
    ground_truth: Mapping[str, Sequence[Segment]],
    proposals: Mapping[str, Sequence[Detection]],
    *,
    tious: Sequence[float] = ACTIVITYNET_TIOUS,
    max_average: int = 100,
) -> RecallResult:
    """AR@AN as ActivityNet's proposal evaluation defines it; labels are ignored.

    For an average number of n proposals a video, each video gives the same share of its proposals, its best
    ``floor(its number * n / mean number)``. A segment is recalled if one of them reaches the tIoU threshold with it;
    one proposal may recall several. Where all videos have ``max_average`` proposals this is the best n of each.

    Args:
        ground_truth: segments of each video id.
        proposals: of each video id, in any order; those of videos without an entry in ``ground_truth`` are left out.
        tious: thresholds.
        max_average: A.

    Source: ActivityNet Challenge 2017, task "temporal action proposals", its published evaluation's definition.
    """
    total_segments = sum(len(segments) for segments in ground_truth.values())
    if total_segments == 0:
        raise PipelineError("ground_truth must have at least one segment, got none; check the subset")
    if max_average < 1:
        raise PipelineError(f"max_average must be >= 1, got {max_average}")
    thresholds = np.asarray(tious, dtype=np.float64)
    kept = {video: proposals.get(video, ()) for video in ground_truth}
    total = sum(len(rows) for rows in kept.values())
    numbers = np.arange(1, max_average + 1)
    recalled = np.zeros((len(thresholds), max_average))
    for video, segments in ground_truth.items():
        if len(segments) and len(kept[video]):
            needed = _needed(segments, kept[video], thresholds)  # [N, G]
            # Whole numbers: 0.29 * 100 is below 29 in floating point.
            given = numbers * len(ground_truth) * len(kept[video]) // total
            recalled += (needed[:, :, None] <= given).sum(axis=1)
    recall = recalled / total_segments
    average = recall.mean(axis=0)
    area = float(((average[1:] + average[:-1]) / 2).sum())
    return RecallResult(tuple(thresholds.tolist()), recall, average, area / max_average)


def _needed(segments: Sequence[Segment], proposals: Sequence[Detection], tious: np.ndarray) -> np.ndarray:
    """[N, G]: how many of the best proposals it takes to recall each segment; infinity if all do not."""
    order = np.argsort([-proposal.score for proposal in proposals], kind="stable")
    found = np.array([proposal.segment for proposal in proposals], dtype=np.float64)[order]
    wanted = np.array([segment.segment for segment in segments], dtype=np.float64)
    reached = tiou(found[:, None], wanted) >= tious[:, None, None]  # [N, P, G]
    return np.where(reached.any(axis=1), reached.argmax(axis=1) + 1, np.inf)

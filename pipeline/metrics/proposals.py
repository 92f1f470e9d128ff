"""Average recall of class-agnostic proposals by their average number, and the area under that curve."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.annotations.segments import Detection, Segment
from pipeline.errors import PipelineError
from pipeline.metrics.matching import tiou_array
from pipeline.metrics.protocols import ACTIVITYNET_TIOUS, prepare


@dataclass(frozen=True)
class RecallResult:
    """`recall` [N, A] at each threshold and each average number of proposals per video, 1 to A.

    `average` [A] is its mean over thresholds (AR@AN is `average[AN - 1]`); `auc` is the area under it from 1 to A
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
    protocol: str = "activitynet",
    blocked_videos: Collection[str] = (),
) -> RecallResult:
    """Return AR@AN as ActivityNet's proposal evaluation defines it; labels are ignored.

    The videos are those with segments. For an average number of n proposals, each video contributes the same share of
    its proposals, the best ones. A segment is recalled if one of them reaches the tIoU threshold with it; one proposal
    may recall several segments. If all videos have `max_average` proposals, each contributes its best n.

    Args:
        ground_truth: segments of each video id.
        proposals: of each video id, in any order.
        tious: thresholds.
        max_average: A.
        protocol: a name in `protocols.PROTOCOLS`, which says what ground truth counts. Proposals of other videos
            affect only the share: the more there are, the fewer each video contributes.
        blocked_videos: as in `metrics.evaluate_map`.

    Source: ActivityNet Challenge 2017, task "temporal action proposals": eval_proposal.py (github
    activitynet/ActivityNet at 82304fa); OpenTAD's recall.py (github sming256/OpenTAD at 3dd7b03) has the same.
    """
    sides = prepare(ground_truth, proposals, protocol=protocol, blocked_videos=blocked_videos)
    truth = {video: segments for video, segments in sides.ground_truth.items() if segments}
    if not truth:
        raise PipelineError("ground_truth must have at least one segment, got none; check the subset")
    if max_average < 1:
        raise PipelineError(f"max_average must be >= 1, got {max_average}")
    thresholds = np.asarray(tious, dtype=np.float64)
    given = _given(
        np.array([len(sides.detections.get(video, ())) for video in truth]),
        everywhere=sum(map(len, sides.detections.values())),
        max_average=max_average,
    )
    recalled = np.zeros((len(thresholds), max_average))
    for video_given, (video, segments) in zip(given, truth.items(), strict=True):
        if video_given[-1]:
            needed = _needed(segments, sides.detections[video], thresholds)  # [N, G]
            recalled += (needed[:, :, None] <= video_given).sum(axis=1)
    recall = recalled / sum(map(len, truth.values()))
    average = recall.mean(axis=0)
    area = float(((average[1:] + average[:-1]) / 2).sum())
    return RecallResult(tuple(thresholds.tolist()), recall, average, area / max_average)


def _given(numbers: np.ndarray, *, everywhere: int, max_average: int) -> np.ndarray:
    """Return how many proposals each video contributes at each average number, [V, A].

    Args:
        numbers: [V] number of proposals of each video with segments.
        everywhere: number of proposals of all videos.
    """
    videos = len(numbers)
    # Shares are rounded down twice. The operations are those of the published code, in its order: another order
    # rounds differently, and changes the number of proposals.
    kept = numbers
    if everywhere:
        ratio = max_average * float(videos) / everywhere
        kept = np.minimum((numbers * ratio).astype(np.int64), numbers)
    if not kept.any():
        return np.zeros((videos, max_average), dtype=np.int64)
    shares = np.arange(1, max_average + 1) / max_average * (max_average * float(videos) / kept.sum())
    return np.minimum((kept[:, None] * shares).astype(np.int64), kept[:, None])


def _needed(segments: Sequence[Segment], proposals: Sequence[Detection], tious: np.ndarray) -> np.ndarray:
    """Return how many of the best proposals recall each segment, [N, G]; infinity if all together do not."""
    order = np.argsort([-proposal.score for proposal in proposals], kind="stable")
    found = np.array([proposal.segment for proposal in proposals], dtype=np.float64)[order]
    wanted = np.array([segment.segment for segment in segments], dtype=np.float64)
    reached = tiou_array(found[:, None], wanted) >= tious[:, None, None]  # [N, P, G]
    return np.where(reached.any(axis=1), reached.argmax(axis=1) + 1, np.inf)

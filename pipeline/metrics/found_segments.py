"""Which annotated segments a set of detections finds, at the score where precision and recall balance."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.annotations.segments import Detection, Segment
from pipeline.metrics.map import match_all
from pipeline.metrics.matching import FREE

TIOU = 0.5


@dataclass(frozen=True)
class FoundSegments:
    """The segments that detections of at least `score` find.

    Args:
        score: where F1 over all classes is best.
        f1: that F1, 0 to 1.
        detections: number of detections of at least `score`.
        segments: of each found segment, (video id, start, end, label).
    """

    score: float
    f1: float
    detections: int
    segments: frozenset[tuple[str, float, float, str]]


def found_segments(
    ground_truth: Mapping[str, Sequence[Segment]],
    detections: Mapping[str, Sequence[Detection]],
    *,
    tiou: float = TIOU,
    protocol: str = "activitynet",
) -> FoundSegments:
    """Return the segments that are found at the score of the best F1, matched as for average precision.

    F1 of the n best detections is 2 hits / (n + segments).
    """
    matched = match_all(ground_truth, detections, thresholds=np.array([tiou]), protocol=protocol, blocked_videos=())
    counted = matched.counted[:, 0]
    score, taken = matched.found.score[counted], matched.taken[counted, 0]
    if not len(score):
        return FoundSegments(0.0, 0.0, 0, frozenset())
    f1 = 2 * (taken != FREE).cumsum() / (np.arange(1, len(score) + 1) + len(matched.truth.score))
    f1[:-1][score[1:] == score[:-1]] = -1  # a threshold takes equal scores together
    best = int(np.argmax(f1))
    videos = sorted({*matched.sides.ground_truth, *matched.sides.detections})
    rows = taken[: best + 1]
    segments = {
        (
            videos[matched.truth.video[row]],
            *map(float, matched.truth.segment[row]),
            matched.labels[matched.truth.label[row]],
        )
        for row in rows[rows != FREE]
    }
    return FoundSegments(float(score[best]), float(f1[best]), best + 1, frozenset(segments))

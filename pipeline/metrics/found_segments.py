"""Which annotated segments a set of detections finds, at the score where precision and recall balance."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.annotations.segments import Detection, Segment
from pipeline.metrics.best_score import TIOU, best_score
from pipeline.metrics.map import match_all
from pipeline.metrics.matching import FREE


@dataclass(frozen=True)
class FoundSegments:
    """The segments that detections of at least `score` find.

    Args:
        score: where F1 over all classes is best; 1 if nothing is right.
        f1: that F1, 0 to 1.
        segments: of each found segment, (video id, start, end, label).
    """

    score: float
    f1: float
    segments: frozenset[tuple[str, float, float, str]]


def found_segments(
    ground_truth: Mapping[str, Sequence[Segment]],
    detections: Mapping[str, Sequence[Detection]],
    *,
    tiou: float = TIOU,
    protocol: str = "activitynet",
) -> FoundSegments:
    """Return the segments that are found at the score of the best F1, matched as for average precision."""
    matched = match_all(ground_truth, detections, thresholds=np.array([tiou]), protocol=protocol, blocked_videos=())
    best = best_score(matched.sides.ground_truth, matched.sides.detections, tiou=tiou)
    if best is None:
        return FoundSegments(1.0, 0.0, frozenset())
    rows = matched.taken[matched.found.score >= best.score, 0]
    videos = sorted({*matched.sides.ground_truth, *matched.sides.detections})
    truth = matched.truth
    segments = {
        (videos[truth.video[row]], *map(float, truth.segment[row]), matched.labels[truth.label[row]])
        for row in rows[rows != FREE]
    }
    return FoundSegments(best.score, best.f1, frozenset(segments))

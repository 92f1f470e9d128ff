"""The score from which detections should be shown: the one of best F1 on annotated videos."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.annotations.segments import Detection, Segment
from pipeline.metrics.matching import FREE, match_greedily, tabulate

TIOU = 0.5
_DIGITS = 4  # of a score, if it separates the same detections then


@dataclass(frozen=True)
class BestScore:
    """Detections with at least `score` have the best `f1`, with this `precision` and `recall`; all 0 to 1."""

    score: float
    f1: float
    precision: float
    recall: float


def best_score(
    ground_truth: Mapping[str, Sequence[Segment]],
    detections: Mapping[str, Sequence[Detection]],
    *,
    tiou: float = TIOU,
) -> BestScore | None:
    """Return the score of best F1 over all classes and videos; None if no detection is right.

    A detection is right if it matches a segment of its class that no detection of higher score has matched. F1 is the
    harmonic mean of precision (right of the detections) and recall (right of the segments). Of several best scores it
    is the highest. The score lies halfway to the next lower one.

    Args:
        ground_truth: segments of each video id.
        detections: of each video id; those of classes or videos without ground truth are wrong.
        tiou: of a match, at least.

    Source: van Rijsbergen, Information Retrieval (1979), chapter 7.
    """
    videos = sorted({*ground_truth, *detections})
    named: list[Sequence[Segment] | Sequence[Detection]] = [*ground_truth.values(), *detections.values()]
    labels = sorted({item.label for items in named for item in items})
    truth, _ = tabulate(ground_truth, videos, labels)
    found, _ = tabulate(detections, videos, labels)
    found = found.select(np.argsort(-found.score, kind="stable"))
    right = (match_greedily(truth, found, np.array([tiou]))[:, 0] != FREE).cumsum()
    if not len(right) or not right[-1]:
        return None
    shown = np.arange(1, len(right) + 1)
    f1 = 2 * right / (shown + len(truth.score))
    f1[:-1][found.score[1:] == found.score[:-1]] = 0.0  # equal scores are shown together or not at all
    best = int(f1.argmax())
    below = float(found.score[best + 1]) if best + 1 < len(right) else 0.0
    return BestScore(
        score=_between(below, float(found.score[best])),
        f1=float(f1[best]),
        precision=float(right[best] / shown[best]),
        recall=float(right[best] / len(truth.score)),
    )


def _between(below: float, last: float) -> float:
    """Return a score that keeps `last` and not `below`, with few digits if possible."""
    middle = (below + last) / 2
    short = round(middle, _DIGITS)
    return short if below < short <= last else middle

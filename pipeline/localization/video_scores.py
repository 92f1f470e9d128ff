"""Detections from class-agnostic proposals and the class scores of a video-level classifier."""

import math
from collections.abc import Mapping, Sequence

from pipeline.errors import PipelineError
from pipeline.localization.segments import Detection


def name_proposals(
    proposals: Sequence[Detection],
    class_scores: Mapping[str, float],
    *,
    top_classes: int = 2,
    max_detections: int = 200,
) -> list[Detection]:
    """Every proposal with each of the video's ``top_classes`` best classes, best first, at most ``max_detections``.

    The score is the geometric mean of the proposal's and the class's. Equal scores: the better proposal first, then
    the better class; of equally good classes the first in sorted order.

    Args:
        proposals: of one video; their labels are ignored.
        class_scores: of the same video, >= 0 each.
    """
    if top_classes < 1 or max_detections < 1:
        raise PipelineError(f"top_classes and max_detections must be >= 1, got {top_classes} and {max_detections}")
    bad = {label: score for label, score in class_scores.items() if not score >= 0}
    if bad:
        raise PipelineError(f"class_scores must be >= 0 (probabilities, not logits), got {bad}")
    best = sorted(sorted(class_scores), key=lambda label: -class_scores[label])[:top_classes]
    named = [
        Detection(proposal.segment, label, math.sqrt(proposal.score * class_scores[label]))
        for proposal in sorted(proposals, key=lambda proposal: -proposal.score)
        for label in best
    ]
    return sorted(named, key=lambda detection: -detection.score)[:max_detections]

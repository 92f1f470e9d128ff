"""Cut a video into segments in seconds, each with its mean direction."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from pipeline.annotations.segments import snippets_to_seconds
from pipeline.segmentation.change_points import find_change_points, segment_sums
from pipeline.segmentation.directions import Directions, Vector, directions, unit
from pipeline.store.sequence import FeatureSequence


@dataclass(frozen=True)
class CutVideo:
    """A video in S segments.

    Args:
        segments: (start, end) in seconds; together they are the whole video.
        means: [S, C], the mean direction of each, of unit length.
    """

    segments: list[tuple[float, float]]
    means: Directions


def cut_video(sequence: FeatureSequence, mean: Vector, *, price: float = 1.0) -> CutVideo:
    """Cut a video at the change points of its features.

    A boundary lies in the middle between the centers of two rows. If that is beyond the end, because the encoder
    completed the last rows, there is none.

    Args:
        sequence: at least one row.
        mean: [C], of the rows of all videos.
        price: of a boundary, see `find_change_points`.
    """
    rows = directions(sequence.features, mean)
    points = find_change_points(rows, price=price)
    plan = sequence.plan
    seconds = snippets_to_seconds(
        points - 0.5, stride_seconds=float(plan.stride_seconds), window_seconds=float(plan.window_seconds)
    )
    inside = seconds < sequence.duration_seconds - 0.001  # no segment is shorter than a millisecond
    times = [0.0, *np.round(seconds[inside], 6).tolist(), sequence.duration_seconds]
    sums, _ = segment_sums(rows, points[inside])
    return CutVideo(list(pairwise(times)), unit(sums))

"""How far mean average precision would move with other videos of the same kind: the bootstrap over videos."""

from collections.abc import Mapping, Sequence

import numpy as np

from pipeline.annotations.segments import Detection, Segment
from pipeline.metrics.map import Matched, match_all
from pipeline.metrics.matching import FREE

RESAMPLES = 200
_MOST_CELLS = 2e8  # of all resamples; fewer are drawn of many detections
_LEAST_RESAMPLES = 20


def resampled_maps(
    ground_truth: Mapping[str, Sequence[Segment]],
    ways: Mapping[str, Mapping[str, Sequence[Detection]]],
    *,
    tious: Sequence[float],
    protocol: str,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, np.ndarray]:
    """Return the mean average precision of each way on resamples of the videos, [R, N]; row r is the same for all ways.

    A resample draws as many videos as there are, with replacement. NaN where it has no segment. Classes that it lacks
    do not count.

    Args:
        ground_truth: segments of each video id.
        ways: detections of each video id, by the name of the way.
        tious: thresholds [N].
        resamples: R; fewer if there are very many detections.
        seed: of the draws.

    Source: Efron and Tibshirani 1993, "An Introduction to the Bootstrap", chapter 6.
    """
    thresholds = np.asarray(tious, dtype=np.float64)
    most = max((sum(map(len, found.values())) for found in ways.values()), default=1)
    count = int(min(resamples, max(_LEAST_RESAMPLES, _MOST_CELLS / max(1, most * len(thresholds)))))
    ids = sorted(ground_truth)
    rng = np.random.default_rng(seed)
    draws = [np.bincount(rng.integers(len(ids), size=len(ids)), minlength=len(ids)) for _ in range(count)]
    results = {}
    for way, found in ways.items():
        matched = match_all(ground_truth, found, thresholds=thresholds, protocol=protocol, blocked_videos=())
        # Videos without ground truth (false positives of some protocols) are always there: they are not what is drawn.
        place = {video: index for index, video in enumerate(ids)}
        videos = sorted({*matched.sides.ground_truth, *matched.sides.detections})
        drawn = np.array([place.get(video, -1) for video in videos])
        results[way] = np.stack([_map(matched, np.where(drawn < 0, 1, draw[drawn])) for draw in draws])
    return results


def _map(matched: Matched, times: np.ndarray) -> np.ndarray:
    """Return the mean average precision [N] if video v occurs `times[v]` times."""
    truth, found = matched.truth, matched.found
    sizes = np.bincount(truth.label, weights=times[truth.video], minlength=len(matched.labels))
    weight = times[found.video][:, None].astype(np.float64)
    hit = matched.taken != FREE
    values = [
        weighted_average_precision(hit[rows], matched.counted[rows], weight[rows], sizes[label])
        for label in np.flatnonzero(sizes)
        for rows in [found.label == label]
    ]
    return np.mean(values, axis=0) if values else np.full(hit.shape[1], np.nan)


def weighted_average_precision(
    positive: np.ndarray, counted: np.ndarray, weight: np.ndarray, segments: float
) -> np.ndarray:
    """Return the interpolated average precision [N] if detection d occurs `weight[d]` times in a row.

    Equal to `average_precision` of the repeated rows: within a run of true positives precision rises, so the envelope
    from the right has its last value.

    Args:
        positive, counted: [D, N] bool, by descending score.
        weight: [D, 1].
        segments: number of ground-truth segments, > 0.
    """
    hits = (positive * weight).cumsum(axis=0)
    ranks = (counted * weight).cumsum(axis=0)
    precision = hits / np.maximum(ranks, 1)
    envelope = np.maximum.accumulate(precision[::-1], axis=0)[::-1]
    return np.asarray((positive * weight * envelope).sum(axis=0) / segments)

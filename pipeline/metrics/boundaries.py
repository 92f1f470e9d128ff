"""How well found boundaries agree with annotated ones: precision, recall and F1 within a tolerance in seconds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from pipeline.annotations.segments import Segment


@dataclass(frozen=True)
class BoundaryScores:
    """Counts over all videos.

    Args:
        matched: pairs of a found and an annotated boundary; each boundary is in one pair at most.
        found, annotated: numbers of boundaries.
    """

    matched: int
    found: int
    annotated: int

    @property
    def precision(self) -> float:
        """Share of the found boundaries that are right; 0 if none is found."""
        return self.matched / self.found if self.found else 0.0

    @property
    def recall(self) -> float:
        """Share of the annotated boundaries that are found; 0 if none is annotated."""
        return self.matched / self.annotated if self.annotated else 0.0

    @property
    def f1(self) -> float:
        """The harmonic mean of precision and recall."""
        return 2 * self.matched / (self.found + self.annotated) if self.matched else 0.0


def boundary_scores(
    found: Mapping[str, Sequence[float]], annotated: Mapping[str, Sequence[float]], *, tolerance_seconds: float
) -> BoundaryScores:
    """Compare boundaries in seconds, by video id; those of videos without annotations are left out.

    Args:
        tolerance_seconds: how far apart the two boundaries of a pair may be; exactly so far counts.
    """
    pairs = [(found.get(video_id, ()), truth) for video_id, truth in annotated.items()]
    return BoundaryScores(
        matched=sum(count_matches(one, truth, tolerance_seconds) for one, truth in pairs),
        found=sum(len(one) for one, _ in pairs),
        annotated=sum(len(truth) for _, truth in pairs),
    )


def count_matches(found: Iterable[float], annotated: Iterable[float], tolerance: float) -> int:
    """Return the greatest number of pairs that are at most `tolerance` apart, each time used once.

    From left to right, each time takes the first free one in reach; on a line no other choice gives more pairs.
    """
    ones, others = sorted(found), sorted(annotated)
    matched = i = k = 0
    while i < len(ones) and k < len(others):
        if abs(ones[i] - others[k]) <= tolerance + 1e-9:  # 1.3 and 0.8 are 0.5 apart, and a little more in binary
            matched, i, k = matched + 1, i + 1, k + 1
        elif ones[i] < others[k]:
            i += 1
        else:
            k += 1
    return matched


def boundaries_of(segments: Iterable[Segment], duration: float, *, apart_seconds: float = 0.0) -> list[float]:
    """Return the starts and ends of segments inside a video, ascending.

    Args:
        duration: of the video in seconds; its own start and end are no boundaries.
        apart_seconds: the end of one segment and the start of the next that are no further apart are one boundary, in
            the middle; likewise of more in a row.
    """
    times = sorted({time for segment in segments for time in segment.segment if 0 < time < duration})
    groups: list[list[float]] = []
    for time in times:
        if groups and time - groups[-1][-1] <= apart_seconds:
            groups[-1].append(time)
        else:
            groups.append([time])
    return [(group[0] + group[-1]) / 2 for group in groups]

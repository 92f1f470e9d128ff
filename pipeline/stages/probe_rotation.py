"""Did a rotation of the channels change the scores? It changes no length and no cosine, so it must not.

If the scores follow it, they tell how far a classifier got, not what the features know.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sola.evaluation import Score

# A classifier that stops at a tolerance moves some snippets at its threshold.
_ROUNDING = 0.002


def moved_scores(before: Mapping[str, Score | None], after: Mapping[str, Score | None]) -> list[str]:
    """Return the name and the change in points of each score that moved by more than its deviation."""
    return [
        f"{name.replace('_', ' ')} {100 * (other.mean - score.mean):+.1f}"
        for name, score in before.items()
        if score is not None and (other := after[name]) is not None and _differ(score, other)
    ]


def rotation_warning(moved: Sequence[str]) -> str:
    """Return one sentence on the scores that moved."""
    return (
        "a random rotation of the channels, which changes no cosine, moves scores by more than their deviation "
        f"({', '.join(moved)} points): differences of this size between columns mean nothing"
    )


def _differ(score: Score, other: Score) -> bool:
    return abs(other.mean - score.mean) > score.deviation + other.deviation + _ROUNDING

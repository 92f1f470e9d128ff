"""What SoLa changed in a self-similarity matrix, in a sentence."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pipeline.annotations.segments import Segment
from pipeline.plots.tsm import Tsm, TsmView
from pipeline.plots.tsm_figure import comparable

_NEAR, _FAR = 0.75, 0.55  # of the target: what SoLa wants alike, and what it wants unrelated
_HARDLY = 0.005


def change_in_words(view: TsmView) -> str:
    """Return what the second matrix of a view has changed; empty if there is nothing to compare.

    With annotations, snippets of one segment are compared with all others; without, near ones with far ones.
    """
    if len(view.tsms) != 2 or not comparable(*view.tsms):
        return ""
    before, after = (tsm.matrix for tsm in view.tsms)
    alike, other, names = _pairs(view)
    if not alike.any() or not other.any():
        return ""
    inside = [float(matrix[alike].mean()) for matrix in (before, after)]
    across = [float(matrix[other].mean()) for matrix in (before, after)]
    contrast = [one - two for one, two in zip(inside, across, strict=True)]
    change = contrast[1] - contrast[0]
    verdict = "hardly changed it" if abs(change) < _HARDLY else "raised it" if change > 0 else "lowered it"
    moved = float(np.abs(after - before)[alike | other].mean())
    change_text = f"{moved:.3f}" if moved >= 0.0005 else "less than 0.001"
    return (
        f"{names[0]} are {inside[0]:.3f} alike before SoLa and {inside[1]:.3f} after; {names[1]} {across[0]:.3f} and "
        f"{across[1]:.3f}. The contrast between the two was {contrast[0]:.3f} and is {contrast[1]:.3f}: SoLa "
        f"{verdict}. A similarity changed by {change_text} on average. Each matrix is drawn in its own range of colors."
    )


def _pairs(view: TsmView) -> tuple[np.ndarray, np.ndarray, tuple[str, str]]:
    """Return which pairs of cells, [B, B] bool above the diagonal, should be alike and which not, and their names."""
    upper = np.triu(np.ones(view.target.shape, dtype=bool), 1)
    if view.segments:
        same = _same_segment(view.tsms[-1], view.segments)
        return upper & same, upper & ~same, ("Snippets of one annotated action", "all other pairs")
    near, far = upper & (view.target >= _NEAR), upper & (view.target <= _FAR)
    return near, far, ("Snippets close in time", "distant ones")


def _same_segment(tsm: Tsm, segments: Sequence[Segment]) -> np.ndarray:
    """Return [B, B] bool: whether the middles of two cells lie in one segment."""
    middles = tsm.start_seconds + (np.arange(len(tsm.matrix)) + 0.5) * tsm.bin_seconds
    same = np.zeros(tsm.matrix.shape, dtype=bool)
    for segment in segments:
        start, end = segment.segment
        inside = (middles >= start) & (middles < end)
        same |= inside[:, None] & inside
    return same

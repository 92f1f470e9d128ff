"""What differs by more than its deviation, in one sentence."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pipeline.ablation.cell import CellResult


def verdict(results: Sequence[CellResult], base: str, measure: str) -> str:
    """Return how the mAP of each row differs from that of `base`, the frozen encoder.

    The difference is taken seed by seed, since a seed's head starts the same in all rows; its deviation is that of a
    sample. With one seed there is none.

    Args:
        results: of all rows and seeds.
        base: the label of the frozen encoder.
        measure: the score's name.
    """
    scores: dict[str, dict[int, float]] = {}
    for result in results:
        if not result.failure:
            scores.setdefault(result.cell.label, {})[result.cell.seed] = 100 * result.scores[measure]
    first = scores.pop(base, None)
    if first is None:
        return f"{base} failed: there is nothing to compare the other rows with."
    against = f"Against {base} (mAP {np.mean(list(first.values())):.1f}%)"
    differ: list[str] = []
    alike: list[str] = []
    for label, found in scores.items():
        changes = [found[seed] - first[seed] for seed in found if seed in first]
        if len(changes) < 2:
            continue
        mean, deviation = np.mean(changes), np.std(changes, ddof=1)
        text = f"{label} ({mean:+.1f} ± {deviation:.1f})"
        (differ if abs(mean) > deviation else alike).append(text)
    if not differ and not alike:
        return f"{against} one seed cannot tell what differs from chance: run two or more."
    much = f"differ by more than their deviation over the seeds: {', '.join(differ) or 'none'}"
    little = f"; do not: {', '.join(alike)}" if alike else ""
    return f"{against}, these {much}{little}."

"""Did a rotation of the channels change the scores of an ablation? It changes no cosine, so it must not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from pipeline.ablation.cell import CellResult
from pipeline.stages.probe_rotation import moved_scores, rotation_warning
from sola.evaluation import Score

# Averages of these are compared, so that one threshold of many does not move by chance.
_PARTS = "map_at_"


def rotation_notes(results: Sequence[CellResult]) -> list[str]:
    """Return a warning for each row of turned channels whose scores left those of the plain features.

    A score has left if it moved by more than the two deviations over the seeds; with one seed nothing is known.
    """
    plain = [result for result in results if not result.failure]
    pairs: dict[str, list[tuple[CellResult, CellResult]]] = {}
    for turned in plain:
        if not turned.cell.config.rotate:
            continue
        config = replace(turned.cell.config, rotate=False)
        for other in plain:
            if other.cell.store == turned.cell.store and other.cell.config == config:
                pairs.setdefault(turned.cell.label, []).append((other, turned))
    notes = []
    for label, seeds in pairs.items():
        if len(seeds) > 1 and (moved := moved_scores(*(_scores(side) for side in zip(*seeds, strict=True)))):
            notes.append(f"{label}: {rotation_warning(moved)}")
    return notes


def _scores(results: Sequence[CellResult]) -> dict[str, Score | None]:
    """Return mean and deviation over the seeds of each score that all results have."""
    names = [name for name in results[0].scores if all(name in result.scores for result in results)]
    values = {name: [result.scores[name] for result in results] for name in names if not name.startswith(_PARTS)}
    return {name: Score(float(np.mean(scores)), float(np.std(scores)), 0) for name, scores in values.items()}

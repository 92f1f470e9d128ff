"""The actionness head: what snippets learn, and how runs become candidates."""

import pytest
import torch

from pipeline.heads.actionness import group_runs, snippet_shares
from pipeline.heads.targets import SegmentTargets


def test_snippets_learn_the_share_that_a_segment_covers() -> None:
    targets = SegmentTargets(torch.tensor([[0.5, 2.25], [1.0, 1.5]]), torch.tensor([1, 1]))
    assert snippet_shares(targets, 4, 2)[:, 1].tolist() == [0.0, 1.0, 0.75, 0.0]
    assert snippet_shares(targets, 4, 2)[:, 0].sum() == 0


def test_runs_are_grouped_at_every_threshold_once_and_scored_inside_minus_outside() -> None:
    probabilities = torch.tensor([[0.0], [0.1], [0.8], [0.6], [0.2], [0.0], [0.9]])
    found = group_runs(probabilities, (0.5, 0.55, 0.7))
    got = {tuple(s): p for s, p in zip(found.segments.tolist(), found.scores.tolist(), strict=True)}
    # Rows 2-3 at 0.5 and 0.55, row 2 at 0.7, row 6 at all.
    assert got == pytest.approx({(1.5, 3.5): 0.7 - 0.15, (1.5, 2.5): 0.8 - 0.35, (5.5, 6.5): 0.9})
    assert found.labels.tolist() == [0, 0, 0]


def test_nothing_above_the_thresholds_gives_no_candidates_and_everything_gives_one() -> None:
    assert len(group_runs(torch.zeros(5, 2), (0.1,))) == 0
    everything = group_runs(torch.ones(5, 1), (0.1, 0.9))
    assert everything.segments.tolist() == [[-0.5, 4.5]] and everything.scores.tolist() == [1.0]

"""G-TAD: its graph layers, alignment, targets, losses and scores."""

import itertools

import numpy as np
import pytest
import torch

from pipeline.heads.gtad import (
    GtadOutput,
    balanced_cross_entropy,
    balanced_square_error,
    match_anchors,
)
from pipeline.heads.gtad_layers import AlignSubGraphs, anchor_rows, nearest_neighbors, neighbor_mean, sample_weights
from tests.pipeline.heads.test_kinds import small_head

CPU = torch.device("cpu")


def test_anchors_are_all_runs_of_rows_up_to_the_longest() -> None:
    want = {(i, j) for i, j in itertools.combinations(range(6), 2) if j - i <= 3}
    assert {tuple(row) for row in anchor_rows(5, 3, CPU).tolist()} == want
    assert anchor_rows(1, 64, CPU).tolist() == [[0, 1]]


def test_nearest_neighbors_are_those_of_a_sorted_distance_list_and_include_itself() -> None:
    torch.manual_seed(0)
    x, mask = torch.randn(2, 4, 9), torch.ones(2, 1, 9)
    mask[1, :, 5:] = 0
    positions, exists = nearest_neighbors(x, mask, 3)
    for batch, count in ((0, 9), (1, 5)):
        for i in range(count):
            distances = [(x[batch, :, i] - x[batch, :, j]).norm().item() for j in range(count)]
            assert set(positions[batch, i].tolist()) == set(np.argsort(distances)[:3].tolist())
    assert exists[0].all()
    few = nearest_neighbors(x[:, :, :2], mask[:, :, :2], 3)[0]
    assert few.shape == (2, 2, 2)


def test_neighbor_mean_leaves_padding_out() -> None:
    x = torch.tensor([[[1.0, 2.0, 50.0, 7.0]]])
    mask = torch.tensor([[[1.0, 1.0, 1.0, 0.0]]])
    assert neighbor_mean(x, mask, 2).tolist() == [[[1.5, 1.5, 26.0, 0.0]]]
    only_one = torch.tensor([[[1.0, 0.0, 0.0, 0.0]]])
    assert neighbor_mean(x, only_one, 3).tolist() == [[[1.0, 0.0, 0.0, 0.0]]]


def test_sampling_interpolates_at_the_middles_of_equal_parts() -> None:
    # Rows 1 to 4 cover 0.5 to 4.5; two parts of it have their middles at 1.5 and 3.5.
    index, weight = sample_weights(6, 6, 2, 0.0, CPU)
    at = anchor_rows(6, 6, CPU).tolist().index([1, 5])
    values = torch.arange(6.0).repeat(2) * 10
    sampled = (values[index[at]] * weight[at]).reshape(2, 2).sum(dim=1)
    assert sampled.tolist() == [15.0, 35.0]
    # With a context of half its length it reaches from -1.5 to 6.5: middles 0.5 and 4.5.
    index, weight = sample_weights(6, 6, 2, 0.5, CPU)
    assert (values[index[at]] * weight[at]).reshape(2, 2).sum(dim=1).tolist() == [5.0, 45.0]


def test_alignment_equals_sampling_joining_and_projecting() -> None:
    torch.manual_seed(0)
    align = AlignSubGraphs(5, 7, samples=4, context=0.5).double()
    torch.nn.init.normal_(align.bias)
    x = torch.randn(2, 5, 6, dtype=torch.float64)
    got = align(x, longest=6)
    dense = align.project.weight.reshape(4, 7, 5).permute(1, 0, 2).reshape(7, 20)  # [outputs, samples * inputs]
    for at, (first, after) in enumerate(anchor_rows(6, 6, CPU).tolist()):
        extent = after - first
        joined = []
        for part in range(4):
            position = first - 0.5 - 0.5 * extent + (part + 0.5) / 4 * 2 * extent
            below = int(np.floor(position))
            value = torch.zeros(2, 5, dtype=torch.float64)
            for row, share in ((below, below + 1 - position), (below + 1, position - below)):
                if 0 <= row < 6:
                    value = value + share * x[:, :, row]
            joined.append(value)
        torch.testing.assert_close(got[:, at], torch.cat(joined, dim=1) @ dense.T + align.bias)


def test_anchors_know_their_best_segment_and_segments_their_best_anchor() -> None:
    anchors = torch.tensor([[0.0, 10], [0, 8], [20, 25], [50, 60]])
    fit, segment, best = match_anchors(anchors, torch.tensor([[0.0, 9.0], [21.0, 25.0], [59.0, 90.0]]))
    assert fit.tolist() == pytest.approx([0.9, 8 / 9, 0.8, 1 / 40])
    assert segment.tolist() == [0, 0, 1, 2]
    assert best.tolist() == [True, False, True, False]


def test_balanced_cross_entropy_weighs_both_sides_half() -> None:
    logits, targets = torch.tensor([0.3, -1.0, 2.0, 0.5]), torch.tensor([1.0, 0.0, 0.0, 0.0])
    each = torch.nn.functional.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    assert balanced_cross_entropy(logits, targets).item() == pytest.approx((each[0] + each[1:].mean()).item() / 2)


def test_balanced_square_error_counts_middle_and_low_targets_like_the_high_ones() -> None:
    wanted = torch.tensor([0.9, 0.5, 0.4, 0.1, 0.1, 0.1, 0.0])
    predicted = wanted + torch.tensor([0.1, 0.2, 0.2, 0.3, 0.3, 0.3, 0.3])
    assert balanced_square_error(predicted, wanted).item() == pytest.approx((0.01 + 0.04 + 0.09) / 3)


def test_a_pair_is_scored_by_its_first_and_last_snippet_its_quality_and_its_class() -> None:
    head = small_head("gtad")
    anchors = anchor_rows(3, 8, CPU)
    outputs = GtadOutput(
        boundary=torch.randn(1, 3, 2),
        mask=torch.ones(1, 3, dtype=torch.bool),
        anchors=anchors,
        valid=torch.ones(1, len(anchors), dtype=torch.bool),
        quality=torch.randn(1, len(anchors), 2),
        classes=torch.randn(1, len(anchors), 3),
    )
    [found] = head.candidates(outputs, min_score=0.0)
    at = anchors.tolist().index([1, 3])
    p = torch.sigmoid
    pair = p(outputs.boundary[0, 1, 0]) * p(outputs.boundary[0, 2, 1]) * p(outputs.quality[0, at]).prod()
    want = pair * outputs.classes[0, at].softmax(0)
    mine = (found.segments == torch.tensor([0.5, 2.5])).all(dim=1)
    torch.testing.assert_close(found.scores[mine], want)

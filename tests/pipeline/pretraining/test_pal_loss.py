"""Regions of features, InfoNCE and what is compared with what: hand-worked values and closed forms."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from pipeline.pretraining.pal_keys import KeyQueue
from pipeline.pretraining.pal_loss import info_nce, localization, retrieval, roi_align, spread
from pipeline.pretraining.pal_pairs import PairVectors, agreement
from pipeline.pretraining.pal_plan import ClipGrid

GRID = ClipGrid(clips=8, stride=16, window=16, cells=(8,))
CPU = torch.device("cpu")


def unit(*shape: int, seed: int = 0) -> torch.Tensor:
    return F.normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).double(), dim=-1)


@pytest.mark.parametrize("grid", [GRID, ClipGrid(clips=8, stride=10, window=30, cells=(8,))])
@pytest.mark.parametrize("bins", [1, 4, 7])
def test_the_bins_of_a_ramp_are_its_means_over_their_parts(grid, bins):
    middles = torch.arange(8.0, dtype=torch.float64) * grid.stride + grid.window / 2
    ramp = torch.stack([3 * middles + 5, -middles], dim=1)[None]  # a feature that grows with time
    start, stop = 19.5, 77.0
    found = roi_align(ramp, torch.tensor([[start, stop]]), grid, bins=bins)[0]
    for number in range(bins):
        low, high = (start + (stop - start) * part / bins for part in (number, number + 1))
        mean = (high**2 - low**2) / 2 / (high - low)  # of time over [low, high): its integral by its length
        assert found[number].tolist() == pytest.approx([3 * mean + 5, -mean])


def test_the_bins_of_a_constant_are_the_constant_up_to_the_ends_of_the_video():
    constant = torch.full((2, 8, 3), 4.5)
    found = roi_align(constant, torch.tensor([[0.0, 128.0], [1.0, 3.0]]), GRID, bins=5)
    assert torch.equal(found, torch.full((2, 5, 3), 4.5))


def test_an_interval_takes_its_own_windows_and_no_other():
    rows = torch.eye(8)[None]
    # [32, 64) is windows 2 and 3; in four bins, the middles 36, 44, 52, 60 lie around their middles 40 and 56.
    found = roi_align(rows, torch.tensor([[32.0, 64.0]]), GRID, bins=4)[0]
    expected = torch.zeros(4, 8)
    expected[0, 1:3] = torch.tensor([0.25, 0.75])
    expected[1, 2:4] = torch.tensor([0.75, 0.25])
    expected[2, 2:4] = torch.tensor([0.25, 0.75])
    expected[3, 3:5] = torch.tensor([0.75, 0.25])
    assert torch.allclose(found, expected)
    assert roi_align(rows, torch.tensor([[0.0, 4.0]]), GRID, bins=1)[0, 0].argmax() == 0  # before the first middle
    assert torch.equal(roi_align(rows, torch.tensor([[124.0, 128.0]]), GRID, bins=1)[0, 0], torch.eye(8)[7])


@pytest.mark.parametrize("number", [0, 1, 9])
def test_the_loss_of_equal_similarities_is_the_logarithm_of_one_plus_the_negatives(number):
    same = unit(1, 6).expand(12, 6)
    negative = torch.zeros(3, 12, dtype=torch.bool)
    negative[:, :number] = True
    loss = info_nce(same[:3], same[:3], same, negative, temperature=0.07)
    assert loss.item() == pytest.approx(math.log(1 + number), abs=1e-12)


def test_the_loss_is_that_of_its_formula():
    queries, positives, keys = unit(3, 5), unit(3, 5, seed=1), unit(4, 5, seed=2)
    negative = torch.tensor([[1, 1, 0, 1], [0, 0, 1, 1], [1, 0, 0, 0]], dtype=torch.bool)
    expected = []
    for query, positive, of_query in zip(queries, positives, negative, strict=True):
        own = math.exp(float(query @ positive) / 0.5)
        others = sum(math.exp(float(query @ key) / 0.5) for key, is_one in zip(keys, of_query, strict=True) if is_one)
        expected.append(-math.log(own / (own + others)))
    loss = info_nce(queries, positives, keys, negative, temperature=0.5)
    assert loss.item() == pytest.approx(np.mean(expected), abs=1e-12)
    assert info_nce(queries[:0], positives[:0], keys, negative[:0], temperature=0.5).item() == 0


def vectors(seed: int, meets=(True, True, True)) -> PairVectors:
    moments = unit(3, 2, 4, 6, seed=seed + 1)
    return PairVectors(unit(3, 2, 6, seed=seed), moments, torch.tensor([5, 2, 9]), torch.tensor(meets))


def test_negatives_are_other_sources_of_the_step_and_of_the_queue_in_both_directions():
    queue = KeyQueue(4, 6, CPU)
    queue.keys = queue.keys.double()
    queue.push(unit(3, 6, seed=7), torch.tensor([2, 7, 8]))  # 2 is a source of the step
    queries, keys = vectors(1), vectors(3)
    regions, moments = agreement(queries, keys, keys, queue, temperature=0.3)
    expected = []
    for i, side in [(i, side) for i in range(3) for side in (0, 1)]:
        query = queries.regions[i, side]
        others = [keys.regions[j, s] for j in range(3) if j != i for s in (0, 1)] + [queue.keys[1], queue.keys[2]]
        logits = torch.stack([query @ keys.regions[i, 1 - side], *(query @ other for other in others)]) / 0.3
        expected.append(-F.log_softmax(logits, dim=0)[0])
    assert regions.item() == pytest.approx(float(sum(expected)) / 6, abs=1e-12)
    expected = []
    for i, side, r in [(i, side, r) for i in range(3) for side in (0, 1) for r in range(4)]:
        query = queries.moments[i, side, r]
        others = [keys.moments[j, s, b] for j in range(3) if j != i for s in (0, 1) for b in range(4)]
        logits = torch.stack([query @ keys.moments[i, 1 - side, r], *(query @ other for other in others)]) / 0.3
        expected.append(-F.log_softmax(logits, dim=0)[0])
    assert moments.item() == pytest.approx(float(sum(expected)) / 24, abs=1e-12)


def test_moments_of_pairs_that_share_no_time_count_nowhere():
    queue = KeyQueue(4, 6, CPU)
    queue.keys = queue.keys.double()
    meets = (True, False, True)
    queries, keys = vectors(1, meets), vectors(3, meets)
    _, before = agreement(queries, keys, keys, queue, temperature=0.3)
    for part in (queries, keys):
        part.moments[1] = unit(2, 4, 6, seed=50)
    _, after = agreement(queries, keys, keys, queue, temperature=0.3)
    assert after.item() == before.item()
    none = replace(queries, meets=torch.zeros(3, dtype=torch.bool))
    assert (
        agreement(none, replace(keys, meets=none.meets), replace(keys, meets=none.meets), queue, temperature=0.3)[1]
        == 0
    )


def test_the_spread_is_0_of_one_direction_and_1_of_directions_that_cancel_out():
    assert spread(torch.tensor([[1.0, 2.0], [2.0, 4.0], [0.5, 1.0]])) == pytest.approx(0, abs=1e-3)
    assert spread(torch.tensor([[3.0, 0.0], [-1.0, 0.0]])) == 1
    many = unit(1000, 8)
    assert spread(many) == pytest.approx(many.std(dim=0, correction=0).square().sum().sqrt().item())


def test_retrieval_counts_both_directions_and_any_region_of_the_source():
    first = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.9, 0.1]])
    second = torch.tensor([[0.0, 1.0], [0.1, 0.9], [1.0, 0.0]])
    # first 0 and 2 find second 2, first 1 finds second 0; second 0 and 1 find first 1, second 2 finds first 0.
    assert retrieval(first, second, torch.tensor([0, 1, 0])) == pytest.approx((1 + 0 + 1 + 0 + 1 + 1) / 6)
    assert retrieval(first, second, torch.tensor([0, 1, 2])) == pytest.approx((0 + 0 + 1 + 0 + 1 + 0) / 6)


def test_the_loss_of_a_place_is_0_where_it_is_right_and_counts_distance_and_overlap():
    true = torch.tensor([[0.2, 0.6], [0.2, 0.6]])
    assert localization(true, true).item() == pytest.approx(0, abs=1e-6)
    found = torch.tensor([[0.3, 0.7], [0.7, 0.9]])
    # 0.2 of distance, tIoU 0.3 / 0.5; 0.5 + 0.3 of distance, no overlap
    expected = ((0.2 + 1 - 0.6) + (0.8 + 1)) / 2
    assert localization(found, true).item() == pytest.approx(expected, abs=1e-6)

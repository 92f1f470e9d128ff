"""Which points learn which segment, and the head's loss as a whole."""

import itertools
import math

import pytest
import torch

from pipeline.heads.anchor_free import AnchorFreeHead, LevelOutput
from pipeline.heads.config import HeadConfig
from pipeline.heads.losses import diou_loss_1d, sigmoid_focal_loss
from pipeline.heads.targets import SegmentTargets, assign_points

INFINITY = float("inf")


def assign(points: list[float], segments: list[list[float]], labels: list[int], **options):
    defaults = {"stride": 1, "range_snippets": (0.0, INFINITY), "center_sample_radius": 1.5, "num_classes": 3}
    targets = SegmentTargets(torch.tensor(segments).reshape(-1, 2), torch.tensor(labels, dtype=torch.long))
    return assign_points(torch.tensor(points), targets, **{**defaults, **options})


def test_only_points_near_the_center_are_positive_and_know_their_distances() -> None:
    classes, distances = assign([0.0, 1, 2, 3, 4, 5, 6, 7, 8], [[1.0, 7.0]], [2])
    # Center 4, radius 1.5: points 3, 4, 5.
    assert classes[:, 2].tolist() == [0, 0, 0, 1, 1, 1, 0, 0, 0]
    assert classes[:, :2].sum() == 0
    assert distances[3:6].tolist() == [[2, 4], [3, 3], [4, 2]]
    assert distances[:3].abs().sum() == 0


def test_centre_radius_and_distances_scale_with_the_level() -> None:
    classes, distances = assign([0.0, 4, 8, 12, 16], [[2.0, 14.0]], [0], stride=4)
    # Center 8, radius 6: points 4, 8, 12; distances in strides of 4 snippets.
    assert classes[:, 0].tolist() == [0, 1, 1, 1, 0]
    assert distances[2].tolist() == [1.5, 1.5]


def test_a_point_outside_a_short_segment_is_negative_even_within_the_radius() -> None:
    classes, _ = assign([2.0, 3, 4], [[2.6, 3.4]], [1])
    assert classes[:, 1].tolist() == [0, 1, 0]


def test_the_range_is_open_below_and_closed_above() -> None:
    segment = [[0.0, 8.0]]
    for limits, positive in (((0.0, 4.0), 1), ((4.0, 8.0), 0), ((3.9, 4.0), 1), ((0.0, 3.9), 0)):
        classes, _ = assign([4.0], segment, [0], range_snippets=limits)
        assert classes[0, 0] == positive, limits


def test_the_shortest_segment_wins_and_equal_lengths_share_the_point() -> None:
    classes, distances = assign([5.0], [[0.0, 10.0], [3.0, 7.5], [2.0, 8.0]], [0, 1, 2])
    assert classes[0].tolist() == [0, 1, 0]
    assert distances[0].tolist() == [2.0, 2.5]
    classes, _ = assign([5.0], [[3.0, 7.0], [3.0, 7.0]], [0, 2])
    assert classes[0].tolist() == [1, 0, 1]


def test_without_segments_everything_is_background() -> None:
    classes, distances = assign([0.0, 1.0], [], [])
    assert classes.shape == (2, 3) and distances.shape == (2, 2)
    assert classes.sum() == 0 and distances.sum() == 0


def test_the_levels_of_the_default_config_leave_no_distance_unanswered() -> None:
    ranges = HeadConfig().ranges_snippets
    assert len(ranges) == 6
    assert ranges[0] == (0.0, 4.0) and ranges[-1] == (64.0, INFINITY)
    assert all(low == high for (_, high), (low, _) in itertools.pairwise(ranges))
    assert HeadConfig(levels=1).ranges_snippets == ((0.0, INFINITY),)


def one_level(logits: torch.Tensor, distances: torch.Tensor, mask: torch.Tensor) -> list[LevelOutput]:
    return [LevelOutput(1, torch.arange(logits.shape[1]).float(), mask, logits, distances)]


def test_the_heads_loss_is_the_sum_over_valid_points_over_the_count_of_positives() -> None:
    torch.manual_seed(0)
    head = AnchorFreeHead(4, 2, HeadConfig(embed_dim=8, levels=1, regression_weight=0.5)).eval()
    logits, distances = torch.randn(1, 6, 2), torch.rand(1, 6, 2) + 0.1
    mask = torch.tensor([[True, True, True, True, False, False]])
    target = SegmentTargets(torch.tensor([[0.5, 2.5]]), torch.tensor([1]))
    losses = head.loss(one_level(logits, distances, mask), [target])
    # Center 1.5, radius 1.5, inside (0.5, 2.5): points 1 and 2.
    classes = torch.zeros(4, 2)
    classes[1:3, 1] = 1
    focal = sum(
        sigmoid_focal_loss(logits[0, t, k], classes[t, k], alpha=0.25, gamma=2.0) for t in range(4) for k in range(2)
    )
    diou = diou_loss_1d(distances[0, 1:3], torch.tensor([[0.5, 1.5], [1.5, 0.5]])).sum()
    assert losses["classification"].item() == pytest.approx(focal.item() / 2, rel=1e-5)
    assert losses["regression"].item() == pytest.approx(0.5 * diou.item() / 2, rel=1e-5)


def test_the_normalizer_starts_at_the_first_count_and_then_moves_by_a_tenth() -> None:
    head = AnchorFreeHead(4, 2, HeadConfig(embed_dim=8, levels=1)).train()
    assert head._moving_positives(torch.tensor(20)).item() == 20
    assert head._moving_positives(torch.tensor(10)).item() == pytest.approx(19)
    assert head._moving_positives(torch.tensor(0)).item() == pytest.approx(0.9 * 19 + 0.1 * 1)
    before = head.positives.item()
    head.eval()
    head._moving_positives(torch.tensor(1000))
    assert head.positives.item() == before


def test_a_batch_without_positives_has_a_finite_loss_and_gradient() -> None:
    head = AnchorFreeHead(4, 2, HeadConfig(embed_dim=8, levels=3)).train()
    nothing = SegmentTargets(torch.zeros(0, 2), torch.zeros(0, dtype=torch.long))
    losses = head.loss(head(torch.randn(1, 5, 4), torch.ones(1, 5, dtype=torch.bool)), [nothing])
    assert losses["regression"].item() == 0
    sum(losses.values()).backward()
    assert all(torch.isfinite(p.grad).all() for p in head.parameters() if p.grad is not None)


def test_new_classes_start_at_the_prior_probability() -> None:
    head = AnchorFreeHead(4, 2, HeadConfig(embed_dim=64, levels=3)).eval()
    levels = head(torch.randn(1, 50, 4), torch.ones(1, 50, dtype=torch.bool))
    mean_logit = torch.cat([level.logits for level in levels], dim=1).mean().item()
    assert 1 / (1 + math.exp(-mean_logit)) == pytest.approx(0.01, rel=0.5)

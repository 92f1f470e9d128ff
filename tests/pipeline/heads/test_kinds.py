"""What all heads share, and what G-TAD and the actionness head do of their own."""

import itertools

import numpy as np
import pytest
import torch

from pipeline.annotations.segments import Detection, Segment
from pipeline.detection.inference import detect
from pipeline.detection.video_scores import name_proposals
from pipeline.errors import PipelineError
from pipeline.heads.actionness import group_runs, snippet_shares
from pipeline.heads.base import Head
from pipeline.heads.config import HeadConfig, PostConfig, TrainConfig
from pipeline.heads.gtad import (
    GtadOutput,
    balanced_cross_entropy,
    balanced_square_error,
    match_anchors,
)
from pipeline.heads.gtad_layers import AlignSubGraphs, anchor_rows, nearest_neighbors, neighbor_mean, sample_weights
from pipeline.heads.presets import PRESETS, preset
from pipeline.heads.registry import HEADS, build_head
from pipeline.heads.resize import rescale_snippets, resize_rows
from pipeline.heads.targets import SegmentTargets
from pipeline.training.batches import TrainItem
from pipeline.training.train_head import fit_head, validate

SMALL = {
    "embed_dim": 16,
    "levels": 3,
    "stem_blocks": 1,
    "tower_layers": 1,
    "gtad_groups": 4,
    "gtad_max_duration_snippets": 8,
}


def small_head(kind: str, **options) -> Head:
    torch.manual_seed(0)
    head = build_head(6, 3, HeadConfig(kind=kind, **{**SMALL, **options}))
    # Biases and norms that start at 0 would hide what leaks from padding.
    for name, parameter in head.named_parameters():
        if parameter.ndim == 1:
            torch.nn.init.normal_(parameter, mean=1.0 if name.endswith("weight") else 0.0, std=0.3)
    return head.eval()


def found_by(head: Head, features: torch.Tensor, mask: torch.Tensor) -> list[torch.Tensor]:
    """Candidates of each row as one tensor [N, 4], in a fixed order."""
    with torch.no_grad():
        found = head.candidates(head(features, mask), min_score=0.0)
    return [torch.cat([c.segments, c.labels[:, None].float(), c.scores[:, None]], dim=1) for c in found]


@pytest.mark.parametrize("kind", HEADS)
@pytest.mark.parametrize("length", [1, 2, 7, 20])
def test_padding_never_changes_what_any_head_finds(kind: str, length: int) -> None:
    head = small_head(kind)
    features = torch.randn(1, length, 6)
    [alone] = found_by(head, features, torch.ones(1, length, dtype=torch.bool))
    padded = torch.full((2, 30, 6), float("nan"))
    padded[0, :length] = features[0]
    padded[1] = torch.randn(30, 6)
    mask = torch.zeros(2, 30, dtype=torch.bool)
    mask[0, :length] = True
    mask[1] = True
    torch.testing.assert_close(found_by(head, padded, mask)[0], alone, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", HEADS)
def test_padding_never_changes_the_loss_of_any_head(kind: str) -> None:
    head = small_head(kind)
    features = torch.randn(1, 11, 6)
    target = [SegmentTargets(torch.tensor([[1.2, 6.9]]), torch.tensor([2]))]
    alone = head.loss(head(features, torch.ones(1, 11, dtype=torch.bool)), target)
    padded = torch.cat([features, torch.full((1, 9, 6), float("nan"))], dim=1)
    with_padding = head.loss(head(padded, torch.arange(20)[None] < 11), target)
    for name, value in alone.items():
        assert with_padding[name].item() == pytest.approx(value.item(), rel=1e-4), name


@pytest.mark.parametrize("kind", HEADS)
def test_every_parameter_learns_and_backgrounds_are_finite(kind: str) -> None:
    head = small_head(kind).train()
    targets = [
        SegmentTargets(torch.tensor([[1.2, 6.9], [8.0, 9.0], [2.0, 19.0]]), torch.tensor([2, 0, 1])),
        SegmentTargets(torch.zeros(0, 2), torch.zeros(0, dtype=torch.long)),
    ]
    losses = head.loss(head(torch.randn(2, 24, 6), torch.ones(2, 24, dtype=torch.bool)), targets)
    sum(losses.values()).backward()
    for name, parameter in head.named_parameters():
        assert parameter.grad is not None and torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().sum() > 0, name
    head.zero_grad()
    background = head.loss(head(torch.randn(1, 3, 6), torch.ones(1, 3, dtype=torch.bool)), targets[1:])
    assert torch.isfinite(sum(background.values()))


def raised_items() -> list[TrainItem]:
    """Eight sequences in which channel 0 or 1 is raised where a segment of a or b is."""
    rng = np.random.default_rng(0)
    items = []
    for number in range(8):
        rows = rng.normal(size=(30, 3)).astype(np.float32) * 0.3
        start, length, label = 3 + number, 6 + number, number % 2
        rows[start : start + length, label] += 3
        segment = Segment((float(start), float(start + length)), "ab"[label])
        items.append(
            TrainItem(
                video_id=f"v{number}",
                features=rows,
                segments=[segment],
                stride_seconds=1.0,
                window_seconds=1.0,
                duration_seconds=30.0,
            )
        )
    return items


@pytest.mark.parametrize("kind", HEADS)
def test_every_head_learns_eight_tiny_videos(kind: str) -> None:
    head = HeadConfig(kind=kind, **{**SMALL, "gtad_max_duration_snippets": 16})
    config = TrainConfig(epochs=5, min_steps_per_epoch=15, learning_rate=1e-2, ema_decay=0.9, head=head)
    result = fit_head(raised_items(), raised_items(), labels=("a", "b"), config=config)
    assert result.best_map is not None and result.best_map > 0.9
    assert result.labels == ("a", "b")


def test_a_class_agnostic_head_finds_actions_without_their_names() -> None:
    config = TrainConfig(
        epochs=2,
        min_steps_per_epoch=15,
        learning_rate=1e-2,
        class_agnostic=True,
        head=HeadConfig(kind="actionness", **SMALL),
    )
    result = fit_head(raised_items(), raised_items(), labels=("a", "b"), config=config)
    assert result.labels == ("action",) and result.head.num_classes == 1
    assert validate(result.head, raised_items(), labels=result.labels, config=config).average == result.best_map
    assert result.best_map is not None and result.best_map > 0.9


@pytest.mark.parametrize("kind", HEADS)
def test_windows_answer_for_long_sequences_with_every_head(kind: str) -> None:
    head = small_head(kind, max_test_snippets=16)
    rows = np.random.default_rng(0).normal(size=(70, 6)).astype(np.float32)
    common = {"stride_seconds": 1.0, "window_seconds": 1.0, "duration_seconds": 70.0, "labels": "abc"}
    post = PostConfig(min_score=0.0)
    whole = detect(head, [rows], post=post, **common)
    assert whole and whole == detect(head, [rows[:33], rows[33:]], post=post, **common)


# G-TAD


def test_anchors_are_all_runs_of_rows_up_to_the_longest() -> None:
    want = {(i, j) for i, j in itertools.combinations(range(6), 2) if j - i <= 3}
    assert {tuple(row) for row in anchor_rows(5, 3).tolist()} == want
    assert anchor_rows(1, 64).tolist() == [[0, 1]]


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
    index, weight = sample_weights(6, 6, 2, 0.0)
    at = anchor_rows(6, 6).tolist().index([1, 5])
    values = torch.arange(6.0).repeat(2) * 10
    sampled = (values[index[at]] * weight[at]).reshape(2, 2).sum(dim=1)
    assert sampled.tolist() == [15.0, 35.0]
    # With a context of half its length it reaches from -1.5 to 6.5: middles 0.5 and 4.5.
    index, weight = sample_weights(6, 6, 2, 0.5)
    assert (values[index[at]] * weight[at]).reshape(2, 2).sum(dim=1).tolist() == [5.0, 45.0]


def test_alignment_equals_sampling_joining_and_projecting() -> None:
    torch.manual_seed(0)
    align = AlignSubGraphs(5, 7, samples=4, context=0.5).double()
    torch.nn.init.normal_(align.bias)
    x = torch.randn(2, 5, 6, dtype=torch.float64)
    got = align(x, longest=6)
    dense = align.project.weight.reshape(4, 7, 5).permute(1, 0, 2).reshape(7, 20)  # [outputs, samples * inputs]
    for at, (first, after) in enumerate(anchor_rows(6, 6).tolist()):
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
    anchors = anchor_rows(3, 8)
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


# Actionness


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


# Resizing, video-level classes, presets


def test_resizing_keeps_a_ramp_a_ramp_in_rescaled_coordinates() -> None:
    ramp = np.arange(10, dtype=np.float32)[:, None]
    for length in (5, 10, 40):
        resized = resize_rows(ramp, length)[:, 0]
        want = rescale_snippets(np.arange(length), source=length, target=10).clip(0, 9)
        np.testing.assert_allclose(resized, want, atol=1e-5)
    assert resize_rows(ramp[:1], 4).tolist() == [[0.0]] * 4
    assert rescale_snippets(-0.5, source=10, target=40) == -0.5
    assert rescale_snippets(9.5, source=10, target=40) == 39.5


def test_a_head_on_resized_sequences_answers_in_the_videos_own_seconds() -> None:
    config = TrainConfig(
        epochs=4,
        min_steps_per_epoch=15,
        learning_rate=1e-2,
        head=HeadConfig(kind="actionness", resize_snippets=45, **SMALL),
    )
    result = fit_head(raised_items(), raised_items(), labels=("a", "b"), config=config)
    assert result.best_map is not None and result.best_map > 0.9


def test_proposals_take_the_best_video_classes_and_the_geometric_mean() -> None:
    proposals = [Detection((0.0, 1.0), "action", 0.25), Detection((2.0, 3.0), "action", 0.81)]
    named = name_proposals(proposals, {"run": 0.04, "sit": 0.64, "eat": 0.01}, top_classes=2)
    assert [(d.segment[0], d.label) for d in named] == [(2.0, "sit"), (0.0, "sit"), (2.0, "run"), (0.0, "run")]
    assert [d.score for d in named] == pytest.approx([0.72, 0.4, 0.18, 0.1])
    assert len(name_proposals(proposals, {"run": 0.5}, max_detections=1)) == 1
    with pytest.raises(PipelineError, match="class_scores must be >= 0"):
        name_proposals(proposals, {"run": -3.0})


def test_presets_exist_for_each_data_set_and_kind_and_make_a_head() -> None:
    for name in ("thumos14", "activitynet13", "hacs"):
        for kind in HEADS:
            config = preset(name, kind=kind)
            assert config.head.kind == kind
    assert preset("activitynet13").head.resize_snippets > 0
    assert all(key[1] == config.head.kind for key, config in PRESETS.items())
    with pytest.raises(PipelineError, match="got 'epic'"):
        preset("epic")

"""What all heads share: padding, learning, windows, resizing and presets."""

import numpy as np
import pytest
import torch

from pipeline.annotations.segments import Segment
from pipeline.detection.inference import detect
from pipeline.errors import PipelineError
from pipeline.heads.base import Head
from pipeline.heads.candidates import RowTimes
from pipeline.heads.config import HeadConfig, PostConfig, TrainConfig
from pipeline.heads.presets import PRESETS, preset
from pipeline.heads.registry import HEADS, build_head
from pipeline.heads.resize import rescale_snippets, resize_rows
from pipeline.heads.targets import SegmentTargets
from pipeline.training.batches import TrainItem
from pipeline.training.train_head import TrainingData, fit_head, validate

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
    result = fit_head(TrainingData(raised_items(), raised_items(), ("a", "b")), config)
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
    result = fit_head(TrainingData(raised_items(), raised_items(), ("a", "b")), config)
    assert result.labels == ("action",) and result.head.num_classes == 1
    assert validate(result.head, raised_items(), labels=result.labels, config=config).average == result.best_map
    assert result.best_map is not None and result.best_map > 0.9


@pytest.mark.parametrize("kind", HEADS)
def test_windows_answer_for_long_sequences_with_every_head(kind: str) -> None:
    head = small_head(kind, max_test_snippets=16)
    rows = np.random.default_rng(0).normal(size=(70, 6)).astype(np.float32)
    common = {"times": RowTimes(1.0, 1.0, 70.0), "labels": "abc"}
    post = PostConfig(min_score=0.0)
    whole = detect(head, [rows], post=post, **common)
    assert whole and whole == detect(head, [rows[:33], rows[33:]], post=post, **common)


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
    result = fit_head(TrainingData(raised_items(), raised_items(), ("a", "b")), config)
    assert result.best_map is not None and result.best_map > 0.9


def test_presets_exist_for_each_data_set_and_kind_and_make_a_head() -> None:
    for name in ("thumos14", "activitynet13", "hacs"):
        for kind in HEADS:
            config = preset(name, kind=kind)
            assert config.head.kind == kind
    assert preset("activitynet13").head.resize_snippets > 0
    assert all(key[1] == config.head.kind for key, config in PRESETS.items())
    with pytest.raises(PipelineError, match="got 'epic'"):
        preset("epic")

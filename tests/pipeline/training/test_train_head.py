"""Batches, schedule, and training: it learns, repeats itself, and resumes exactly."""

import io
import math

import numpy as np
import pytest
import torch

from pipeline.annotations.segments import Segment
from pipeline.errors import PipelineError
from pipeline.heads.config import HeadConfig, PostConfig, TrainConfig
from pipeline.heads.targets import SegmentTargets
from pipeline.training.batches import TrainItem, feature_statistics, make_batch, random_crop, segments_inside
from pipeline.training.schedule import epoch_batches, learning_rate_at, steps_per_epoch
from pipeline.training.train_head import EpochReport, TrainingData, fit_head, validate
from pipeline.training.validation import training_device
from sola.errors import SolaError

LABELS = ("a", "b")


def item(
    video_id: str, length: int, *segments: tuple[float, float, str], seed: int = 0, noise: float = 0.3
) -> TrainItem:
    """Stride and window of 1 s: row i is seen at i + 0.5 s; channel 0 or 1 is raised where a segment of a or b is."""
    rows = np.random.default_rng([seed, length]).normal(size=(length, 3)).astype(np.float32) * noise
    centers = np.arange(length) + 0.5
    for start, end, label in segments:
        rows[(centers >= start) & (centers < end), LABELS.index(label)] += 3
    return TrainItem(
        video_id=video_id,
        features=rows,
        segments=[Segment((start, end), label) for start, end, label in segments],
        stride_seconds=1.0,
        window_seconds=1.0,
        duration_seconds=float(length),
    )


def tiny_items() -> list[TrainItem]:
    return [
        item("one", 40, (5, 15, "a"), (25, 31, "b"), seed=1),
        item("two", 30, (10, 22, "b"), seed=2),
        item("three", 25, (3, 9, "a"), seed=3),
        item("background", 12, seed=4),
    ]


def tiny_config(**options) -> TrainConfig:
    head = HeadConfig(embed_dim=16, levels=4, stem_blocks=1, tower_layers=1, dropout=0.1)
    defaults = {"epochs": 4, "min_steps_per_epoch": 3, "batch_size": 2, "learning_rate": 2e-3, "warmup_epochs": 1}
    return TrainConfig(head=head, **{**defaults, "validate_every_epochs": 2, **options})


def weights(head: torch.nn.Module) -> torch.Tensor:
    return torch.cat([value.flatten().float() for value in head.state_dict().values()])


def test_targets_are_in_snippets_from_the_center_of_row_0() -> None:
    made = item("v", 10, (0.5, 3.0, "b")).targets(LABELS)
    assert made.segments.tolist() == [[0.0, 2.5]] and made.labels.tolist() == [1]


def test_a_batch_is_padded_to_its_longest_and_masked() -> None:
    items = [item("v", 4, (0, 2, "a")), item("w", 7)]
    batch = make_batch(items, labels=LABELS, max_snippets=100, rng=np.random.default_rng(0))
    assert batch.features.shape == (2, 7, 3) and batch.mask.sum(dim=1).tolist() == [4, 7]
    assert (batch.features[0, 4:] == 0).all()
    assert torch.equal(batch.features[0, :4], torch.from_numpy(items[0].features))
    assert [len(t.segments) for t in batch.targets] == [1, 0]


def test_a_crop_shifts_cuts_and_drops_segments_by_their_visible_share() -> None:
    targets = SegmentTargets(torch.tensor([[2.0, 6.0], [9.5, 19.5], [7.5, 13.5]]), torch.tensor([0, 1, 2]))
    # Rows 10 to 19 show [9.5, 19.5]: nothing of the first, all of the second, 4 of 6 snippets of the third.
    inside = segments_inside(targets, begin=10, length=10)
    assert inside.labels.tolist() == [1, 2]
    assert inside.segments.tolist() == [[-0.5, 9.5], [-0.5, 3.5]]


def test_a_long_sequence_is_cropped_where_a_segment_is() -> None:
    long = item("v", 500, (400, 410, "a"))
    for seed in range(5):
        rows, targets = random_crop(long.load(), long.targets(LABELS), limit=100, rng=np.random.default_rng(seed))
        assert rows.shape == (100, 3)
        if len(targets.segments):
            start, end = targets.segments[0].round().int().tolist()
            assert rows[max(start, 0) : end, 0].mean() > 2.5
    hits = [
        len(random_crop(long.load(), long.targets(LABELS), limit=100, rng=np.random.default_rng(s))[1].segments)
        for s in range(20)
    ]
    assert sum(hits) == 20  # at one try, four in five would miss


def test_feature_statistics_are_those_of_all_rows() -> None:
    items = tiny_items()
    every = np.concatenate([one.features + np.float32(1000) for one in items])
    shifted = [TrainItem(**{**vars(one), "features": lambda one=one: one.features + np.float32(1000)}) for one in items]
    mean, std = feature_statistics(shifted, most_items=10, seed=0)
    np.testing.assert_allclose(mean, every.astype(np.float64).mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(std, every.astype(np.float64).std(axis=0), rtol=1e-4)
    one_only, _ = feature_statistics(items, most_items=1, seed=0)
    assert any(np.allclose(one_only, one.features.mean(axis=0), atol=1e-5) for one in items)


def test_an_epoch_shows_every_video_equally_often_and_has_enough_steps() -> None:
    config = tiny_config(min_steps_per_epoch=10, batch_size=4)
    batches = list(epoch_batches(7, config=config, rng=np.random.default_rng(0)))
    assert len(batches) >= 10 and len(batches) == steps_per_epoch(7, config)
    counts = np.bincount(np.concatenate(batches))
    assert len(counts) == 7 and counts.min() == counts.max() == 6
    large = list(epoch_batches(100, config=config, rng=np.random.default_rng(0)))
    assert len(large) == 25


def test_the_learning_rate_rises_then_falls_as_half_a_cosine() -> None:
    config = tiny_config(epochs=10, warmup_epochs=2, learning_rate=1.0)
    rates = [learning_rate_at(step, total_steps=100, config=config) for step in range(100)]
    assert rates[0] == pytest.approx(1 / 21) and rates[20] == 1.0
    assert rates[:21] == sorted(rates[:21]) and rates[20:] == sorted(rates[20:], reverse=True)
    assert rates[60] == pytest.approx(0.5) and rates[40] == pytest.approx(0.5 * (1 + math.cos(math.pi / 4)))
    assert 0 < rates[99] < 0.001


def test_it_learns_four_tiny_videos() -> None:
    items = tiny_items()
    config = tiny_config(epochs=5, min_steps_per_epoch=20, learning_rate=1e-2, ema_decay=0.9)
    result = fit_head(TrainingData(items, items, LABELS), config)
    assert result.losses[-1]["classification"] < result.losses[0]["classification"] / 4
    assert result.best_map is not None and result.best_map > 0.9
    again = validate(result.head, items, labels=LABELS, config=config)
    assert again.average == result.best_map
    assert not result.head.training


def test_the_same_seed_repeats_bit_for_bit_and_another_does_not() -> None:
    items = tiny_items()
    one, two, other = (fit_head(TrainingData(items, [], LABELS), tiny_config(epochs=2, seed=s)) for s in (1, 1, 2))
    assert torch.equal(weights(one.head), weights(two.head))
    assert not torch.equal(weights(one.head), weights(other.head))


@pytest.mark.parametrize("stop_after", [1, 2, 3])
def test_resuming_from_a_saved_state_gives_the_same_weights_as_never_stopping(stop_after: int) -> None:
    items, config = tiny_items(), tiny_config()
    saved = io.BytesIO()

    def save(report: EpochReport) -> None:
        if report.epoch == stop_after:
            torch.save(report.state(), saved)

    straight = fit_head(TrainingData(items, items[:2], LABELS), config, on_epoch=save)
    saved.seek(0)
    epochs: list[int] = []
    resumed = fit_head(
        TrainingData(items, items[:2], LABELS),
        config,
        on_epoch=lambda report: epochs.append(report.epoch),
        resume=torch.load(saved, weights_only=True),
    )
    assert epochs == list(range(stop_after + 1, 5))
    assert torch.equal(weights(straight.head), weights(resumed.head))
    assert (straight.best_epoch, straight.best_map) == (resumed.best_epoch, resumed.best_map)
    assert straight.losses == resumed.losses
    assert straight.validation_maps == resumed.validation_maps


def test_a_state_is_not_changed_by_the_epochs_that_follow() -> None:
    states = []
    fit_head(TrainingData(tiny_items(), [], LABELS), tiny_config(), on_epoch=lambda r: states.append(r.state()))
    again = []
    fit_head(
        TrainingData(tiny_items(), [], LABELS),
        tiny_config(),
        resume=states[0],
        on_epoch=lambda r: again.append(r.state()),
    )
    for name, value in again[-1]["head"].items():
        assert torch.equal(value, states[-1]["head"][name]), name


def test_validation_comes_every_n_epochs_and_at_the_end_and_keeps_the_best() -> None:
    items, reports = tiny_items(), []
    config = tiny_config(epochs=5)
    result = fit_head(TrainingData(items, items, LABELS), config, on_epoch=reports.append)
    assert [r.validation is not None for r in reports] == [False, True, False, True, True]
    scores = {r.epoch: r.validation.average for r in reports if r.validation is not None}
    assert result.best_map == max(scores.values()) and scores[result.best_epoch] == result.best_map
    assert dict(result.validation_maps) == scores
    assert [r.epoch for r in reports if r.is_best][-1] == result.best_epoch


def test_without_validation_videos_the_last_epoch_is_kept() -> None:
    result = fit_head(TrainingData(tiny_items(), [], LABELS), tiny_config())
    assert result.best_epoch == 4 and result.best_map is None


def test_the_callers_random_numbers_are_left_alone() -> None:
    torch.manual_seed(7)
    want = torch.rand(3)
    torch.manual_seed(7)
    fit_head(TrainingData(tiny_items(), [], LABELS), tiny_config(epochs=1))
    assert torch.equal(torch.rand(3), want)


def test_features_are_standardized_by_the_training_set() -> None:
    items = tiny_items()
    result = fit_head(TrainingData(items, [], LABELS), tiny_config(epochs=1))
    every = np.concatenate([one.features for one in items])
    np.testing.assert_allclose(result.head.standardize.mean, every.mean(axis=0), atol=1e-5)
    np.testing.assert_allclose(result.head.standardize.std, every.var(axis=0).mean() ** 0.5, atol=1e-5)


def test_averaged_weights_trail_the_trained_ones_unless_switched_off() -> None:
    for decay, equal in ((0.0, True), (0.9, False)):
        states = []
        config = tiny_config(epochs=1, ema_decay=decay)
        fit_head(TrainingData(tiny_items(), [], LABELS), config, on_epoch=lambda r, s=states: s.append(r.state()))
        name = "project.conv.weight"
        assert torch.equal(states[0]["head"][name], states[0]["average"][name]) is equal


def test_what_cannot_be_trained_is_refused() -> None:
    with pytest.raises(PipelineError, match=r"data\.train must have segments, got none in 1 video$"):
        fit_head(TrainingData([item("v", 5)], [], LABELS), tiny_config())
    with pytest.raises(PipelineError, match=r"labels of video 'one' .* got \['b'\]"):
        fit_head(TrainingData(tiny_items()[:1], [], ("a",)), tiny_config())
    other = TrainItem(**{**vars(item("odd", 5)), "features": np.zeros((5, 9), dtype=np.float32)})
    with pytest.raises(PipelineError, match="'odd' must have 3 channels like the others, got 9"):
        fit_head(TrainingData([tiny_items()[0], other], [], LABELS), tiny_config())
    with pytest.raises(PipelineError, match="lower learning_rate"):
        fit_head(TrainingData(tiny_items(), [], LABELS), tiny_config(learning_rate=1e30, max_gradient_norm=0))


@pytest.mark.parametrize(
    ("name", "with_cuda", "without_cuda"),
    [("cpu", "cpu", "cpu"), ("auto", "cuda", "cpu"), ("cuda", "cuda", None), ("cuda:1", "cuda:1", None)],
)
def test_device_is_the_one_asked_for_or_refused(
    name: str, with_cuda: str, without_cuda: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert training_device(name) == torch.device(with_cuda)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    if without_cuda is not None:
        assert training_device(name) == torch.device(without_cuda)
        return
    with pytest.raises(SolaError, match="no CUDA device"):
        fit_head(TrainingData(tiny_items(), [], LABELS), tiny_config(device=name))


@pytest.mark.gpu
def test_it_trains_on_cuda_and_detects_there_and_on_the_cpu() -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    items = tiny_items()
    result = fit_head(TrainingData(items, items, LABELS), tiny_config(device="cuda", epochs=8, min_steps_per_epoch=20))
    there = validate(result.head, items, labels=LABELS, config=tiny_config(device="cuda"))
    here = validate(result.head, items, labels=LABELS, config=tiny_config(post=PostConfig()))
    assert there.average == pytest.approx(here.average, abs=0.05)

"""Linear evaluation and its metrics."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from sola.config import SolaConfig, preset
from sola.errors import SolaError
from sola.evaluation import EvaluationConfig, LabeledSequence, WeightedRows, linear_evaluation, sgd_epoch
from sola.metrics import average_precision, balanced_accuracy, distance_to_boundary

QUICK = EvaluationConfig(min_steps=1, epochs=30, counted_epochs=3, batch_size=32, learning_rate=0.5, seeds=(0, 1))


def mask(text: str) -> np.ndarray:
    return np.array([letter == "#" for letter in text])


def test_distance_counts_from_the_nearest_change() -> None:
    assert distance_to_boundary(mask("...##....")).tolist() == [3, 2, 1, 1, 1, 1, 2, 3, 4]
    assert distance_to_boundary(mask("#.")).tolist() == [1, 1]
    assert distance_to_boundary(mask("###")).min() > 10**9
    assert distance_to_boundary(mask("#")).min() > 10**9


def test_balanced_accuracy_is_the_mean_of_both_classes() -> None:
    scores = np.array([1.0, -1, 1, -1, -1])  # 1 of 2 foreground, 2 of 3 background
    assert balanced_accuracy(mask("##..."), scores) == pytest.approx((1 / 2 + 2 / 3) / 2)


def test_average_precision_of_hand_worked_rankings() -> None:
    # Ranks 1, 3 and 4 of five are foreground: precisions 1, 2/3 and 3/4.
    assert average_precision(mask("#.##."), np.array([9.0, 8, 7, 6, 5])) == pytest.approx((1 + 2 / 3 + 3 / 4) / 3)
    # All tie: every threshold takes all or none.
    assert average_precision(mask("#..."), np.zeros(4)) == pytest.approx(1 / 4)
    # First one alone, then a tie of three with two hits: 1/3 at precision 1, 2/3 at precision 3/4.
    assert average_precision(mask("#.##"), np.array([2.0, 1, 1, 1])) == pytest.approx(1 / 3 + 2 / 3 * 3 / 4)


def test_an_epoch_equals_automatic_differentiation_and_torchs_sgd() -> None:
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(100, 7, generator=generator, dtype=torch.float64)
    target = torch.randint(0, 2, (100,), generator=generator)
    weight = torch.randn(8, 2, generator=generator, dtype=torch.float64)
    layer = torch.nn.Linear(7, 2, dtype=torch.float64)
    with torch.no_grad():
        layer.weight.copy_(weight[:-1].T)
        layer.bias.copy_(weight[-1])
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.3, momentum=0.8)
    config = EvaluationConfig(learning_rate=0.3, momentum=0.8, batch_size=32)
    difference = weight[:, 1] - weight[:, 0]
    counts = torch.rand(100, generator=generator, dtype=torch.float64)
    velocity = torch.zeros_like(difference)
    weighted = WeightedRows(rows, target.double(), counts)
    for _ in range(2):
        order = torch.randperm(100, generator=generator)
        sgd_epoch(difference, velocity, weighted, order, config=config)
        for chosen in order.split(32):
            optimizer.zero_grad()
            losses = torch.nn.functional.cross_entropy(layer(rows[chosen]), target[chosen], reduction="none")
            (counts[chosen] * losses).mean().backward()
            optimizer.step()
    assert torch.allclose(difference[:-1], layer.weight[1] - layer.weight[0], atol=1e-12)
    assert torch.allclose(difference[-1], layer.bias[1] - layer.bias[0], atol=1e-12)


def videos(count: int, *, seed: int, blur: int = 0, noise: float = 0.1) -> list[LabeledSequence]:
    """Foreground points one way and background the other; `blur` mixes a snippet with its neighbors."""
    random = np.random.default_rng(seed)
    result = []
    for _ in range(count):
        foreground = np.repeat(random.permutation(6) < 3, random.integers(8, 20, 6))
        clean = np.where(foreground[:, None], [1.0, 0.2, 0.0], [0.0, 0.2, 1.0])
        shifted = np.pad(clean, ((blur, blur), (0, 0)), mode="edge")
        mixed = np.mean([shifted[k : k + len(clean)] for k in range(2 * blur + 1)], axis=0)
        features = mixed + noise * random.normal(size=mixed.shape)
        result.append(LabeledSequence((5 * features).astype(np.float32), foreground))
    return result


def test_separable_features_are_told_apart_everywhere() -> None:
    result = linear_evaluation(videos(8, seed=0), videos(4, seed=1), QUICK)
    assert result.accuracy.mean == pytest.approx(1, abs=0.01)
    assert result.balanced_accuracy.mean == pytest.approx(1, abs=0.01)
    assert result.average_precision.mean == pytest.approx(1, abs=0.01)
    assert result.near[1].mean == pytest.approx(1, abs=0.03)


def test_smoothing_shows_near_the_boundaries_and_not_away_from_them() -> None:
    result = linear_evaluation(videos(8, seed=0, blur=3, noise=0.25), videos(8, seed=1, blur=3, noise=0.25), QUICK)
    assert result.near[1].mean < 0.9 < 0.95 < result.away.mean
    assert result.near[1].mean < result.near[2].mean < result.near[4].mean < result.near[8].mean


def test_features_that_know_nothing_do_no_better_than_guessing() -> None:
    random = np.random.default_rng(0)
    blind = [
        LabeledSequence(random.normal(size=v.features.shape).astype(np.float32), v.foreground)
        for v in videos(30, seed=2)
    ]
    result = linear_evaluation(blind[:20], blind[20:], QUICK)
    assert result.balanced_accuracy.mean == pytest.approx(0.5, abs=0.06)
    assert result.accuracy.mean < result.majority + 0.06


def test_balanced_training_equals_training_with_the_rarer_class_repeated() -> None:
    random = np.random.default_rng(0)
    labels = np.arange(40) % 4 > 0  # three of four are foreground
    rows = random.normal(size=(40, 3)).astype(np.float32) + labels[:, None]
    test = [LabeledSequence(rows, labels)]
    repeated = np.concatenate([np.arange(40), *2 * [np.flatnonzero(~labels)]])
    # One batch holds all, so that the order does not matter.
    settings = {"epochs": 50, "counted_epochs": 1, "min_steps": 1, "batch_size": 1000, "seeds": (0,)}
    balanced = linear_evaluation(test, test, EvaluationConfig(**settings, weighting="balanced"))
    same = linear_evaluation([LabeledSequence(rows[repeated], labels[repeated])], test, EvaluationConfig(**settings))
    assert balanced == same
    assert balanced != linear_evaluation(test, test, EvaluationConfig(**settings))


def test_where_nearly_all_is_foreground_balanced_training_finds_the_rest() -> None:
    random = np.random.default_rng(0)
    labels = np.arange(400) % 20 > 0
    rows = (random.normal(size=(400, 2)) + np.where(labels, 1.0, -1.0)[:, None]).astype(np.float32)
    data = [LabeledSequence(np.concatenate([rows, np.full((400, 1), 9, np.float32)], axis=1), labels)]
    plain = linear_evaluation(data, data, replace(QUICK, learning_rate=0.01))
    assert plain.balanced_accuracy.mean == pytest.approx(0.5, abs=0.01)
    balanced = linear_evaluation(data, data, replace(QUICK, learning_rate=0.01, weighting="balanced"))
    assert balanced.balanced_accuracy.mean > 0.8


def test_the_same_input_gives_the_same_scores_and_other_seeds_others() -> None:
    train, test = videos(4, seed=0, noise=0.5), videos(3, seed=1, noise=0.5)
    assert linear_evaluation(train, test, QUICK) == linear_evaluation(train, test, QUICK)
    result = linear_evaluation(train, test, QUICK)
    assert result.average_precision.deviation > 0
    one = EvaluationConfig(min_steps=1, epochs=2, counted_epochs=1, seeds=(3,))
    assert linear_evaluation(train, test, one).average_precision.deviation == 0


def test_counts_say_over_how_many_snippets_a_score_is_taken() -> None:
    train = videos(2, seed=0)
    test = [LabeledSequence(np.ones((9, 3), np.float32), mask("...##...."))]
    result = linear_evaluation(train, test, QUICK)
    assert result.accuracy.snippets == 9
    assert [result.near[n].snippets for n in (1, 2, 4, 8)] == [4, 6, 9, 9]
    assert result.away is None
    assert result.majority == pytest.approx(7 / 9)


def test_small_data_are_given_enough_steps() -> None:
    config = EvaluationConfig(seeds=(0,))
    train, test = videos(2, seed=0), videos(2, seed=1)
    assert linear_evaluation(train, test, config).accuracy.mean > 0.97
    few = EvaluationConfig(seeds=(0,), min_steps=1, epochs=1)
    assert linear_evaluation(train, test, few).balanced_accuracy.mean < 0.9


def test_each_stream_is_brought_to_unit_length_by_itself() -> None:
    def with_stream(sequences: list[LabeledSequence], seed: int) -> list[LabeledSequence]:
        random = np.random.default_rng(seed)
        return [
            LabeledSequence(
                np.concatenate([1e4 * random.random((len(v.features), 2), np.float32), v.features], axis=1),
                v.foreground,
            )
            for v in sequences
        ]

    train, test = with_stream(videos(8, seed=0), 3), with_stream(videos(4, seed=1), 4)
    together = linear_evaluation(train, test, QUICK).accuracy.mean
    apart = linear_evaluation(train, test, QUICK, stream_channels=(2, 3)).accuracy.mean
    assert apart > 0.97
    assert together < 0.8


def test_bad_input_is_refused_with_what_is_wrong() -> None:
    good = videos(2, seed=0)
    only_background = [LabeledSequence(np.ones((4, 3), np.float32), mask("...."))]
    broken = [LabeledSequence(np.full((2, 3), np.nan, np.float32), mask("#."))]
    with pytest.raises(SolaError, match="no test videos"):
        linear_evaluation(good, [])
    with pytest.raises(SolaError, match="all 4 snippets of the training videos are background"):
        linear_evaluation(only_background, good)
    with pytest.raises(SolaError, match="test features hold NaN"):
        linear_evaluation(good, broken)
    with pytest.raises(SolaError, match=r"test video number 0: .*\[4, 3\] and \[3\]"):
        linear_evaluation(good, [LabeledSequence(np.ones((4, 3), np.float32), mask("..#"))])
    with pytest.raises(SolaError, match="training features must have 5 channels"):
        linear_evaluation(good, good, stream_channels=(2, 3, 0))
    with pytest.raises(SolaError, match="momentum"):
        EvaluationConfig(momentum=1.0)


def test_the_preset_is_the_published_setting() -> None:
    config = preset("hacs")
    assert config == SolaConfig(padding="zeros", adapt=False)
    assert (config.hidden, config.kernel_sizes, config.window_snippets) == (512, (5, 1, 1), 23)
    assert config.positions == (4, 6, 8, 10, 12, 14, 16, 18)
    assert (config.target_sharpness, config.batch_size, config.epochs, config.learning_rate) == (16, 256, 150, 1e-4)
    assert (config.weight_decay, config.predictor_hidden, config.precision) == (0.01, 512, "fp32")
    with pytest.raises(SolaError, match="preset must be one of hacs"):
        preset("thumos")

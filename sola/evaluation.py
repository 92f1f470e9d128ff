"""Linear evaluation: how well a linear classifier of single snippets separates foreground from background.

It measures features without a head: over all snippets, near the boundaries of actions, and away from them.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from sola.errors import SolaError
from sola.metrics import average_precision, balanced_accuracy, distance_to_boundary


@dataclass(frozen=True, kw_only=True)
class EvaluationConfig:
    """Options of the linear evaluation; the defaults are the published ones.

    Raises:
        SolaError: a value is out of range.

    Source: Kang et al., CVPR 2023, section 4; the scores of the last epochs are averaged, as the authors do.
    """

    learning_rate: float = 0.01
    """Learning rate of stochastic gradient descent."""

    momentum: float = 0.9
    """Momentum of stochastic gradient descent."""

    batch_size: int = 256
    """Snippets in an optimizer step."""

    epochs: int = 16
    """Passes over the training snippets."""

    min_steps: int = 3000
    """Optimizer steps to take at least: with few snippets, the epochs above would end before anything is learned."""

    counted_epochs: int = 10
    """Last epochs whose scores are averaged."""

    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    """Seeds of the initial weights and of the order of the snippets."""

    weighting: Literal["none", "balanced"] = "none"
    """Weights of training snippets: equal (none), or such that foreground and background have equal total weight.
    If nearly all snippets are foreground, equal weights make every classifier always answer foreground."""

    distances: tuple[int, ...] = (1, 2, 4, 8)
    """Distances from a boundary, in snippets, within which to measure the accuracy; away is beyond the largest."""

    def __post_init__(self) -> None:
        for name in ("batch_size", "epochs", "min_steps", "counted_epochs"):
            if getattr(self, name) < 1:
                raise SolaError(f"{name} must be >= 1, got {getattr(self, name)}")
        if not (math.isfinite(self.learning_rate) and self.learning_rate > 0):
            raise SolaError(f"learning_rate must be > 0, got {self.learning_rate}")
        if not 0 <= self.momentum < 1:
            raise SolaError(f"momentum must be from 0 to below 1, got {self.momentum}")
        if self.weighting not in ("none", "balanced"):
            raise SolaError(f"weighting must be 'none' or 'balanced', got {self.weighting!r}")
        if not self.seeds or not self.distances or min(self.distances) < 1:
            raise SolaError(f"seeds and distances must have entries, got {self.seeds} and {self.distances}")


@dataclass(frozen=True)
class LabeledSequence:
    """Features [T, C] of a video, float16 or float32, and whether each snippet is foreground, [T] bool."""

    features: np.ndarray
    foreground: np.ndarray


@dataclass(frozen=True)
class Score:
    """Mean and standard deviation over the seeds, and the number of snippets scored."""

    mean: float
    deviation: float
    snippets: int


@dataclass(frozen=True)
class EvaluationResult:
    """Scores on the test videos; `near[n]` is the accuracy within n snippets of a boundary.

    `near[n]` and `away` are None if no snippet lies there. `majority` is the accuracy of always guessing the more
    frequent class of the test videos: compare an accuracy with it.
    """

    accuracy: Score
    balanced_accuracy: Score
    average_precision: Score
    near: dict[int, Score | None]
    away: Score | None
    majority: float


Learn = Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray, int], tuple[np.ndarray, float]]
"""Takes training rows [N, C], foreground [N] bool, the video of each row [N], its weight [N] and a seed; returns weight
[C] and bias of a linear classifier that answers foreground where rows @ weight + bias > 0."""


def linear_evaluation(
    train: Sequence[LabeledSequence],
    test: Sequence[LabeledSequence],
    config: EvaluationConfig | None = None,
    *,
    stream_channels: Sequence[int] = (),
    learn: Learn | None = None,
) -> EvaluationResult:
    """Train linear classifiers on the training videos and return their scores on the test videos.

    Deterministic: the same input gives the same scores on one machine.

    Args:
        train: at least one snippet of foreground and one of background.
        test: likewise; features of the same channels.
        config: the paper's if None.
        stream_channels: channels of each stream, if RGB and flow are concatenated; each stream is then scaled to unit
            length by itself, so that the longer vectors do not dominate.
        learn: trains a classifier in place of the published SGD, once a seed.

    Raises:
        SolaError: a class is missing, shapes disagree, or features are not finite.
    """
    config = config or EvaluationConfig()
    train_rows, train_labels = _prepare(train, stream_channels, "training")
    test_rows, test_labels = _prepare(test, stream_channels, "test")
    if train_rows.shape[1] != test_rows.shape[1]:
        raise SolaError(f"training features have {train_rows.shape[1]} channels, test features {test_rows.shape[1]}")
    distance = np.concatenate([distance_to_boundary(video.foreground) for video in test])
    tables = []
    with _one_thread():
        for seed in config.seeds:
            if learn is None:
                learned = _counted_epochs(train_rows, train_labels, config, seed)
            else:
                videos = np.repeat(np.arange(len(train)), [len(video.foreground) for video in train])
                counts = _counts(train_labels, config)
                weight, bias = learn(train_rows.numpy(), train_labels, videos, counts, seed)
                learned = iter([(torch.from_numpy(weight).to(test_rows), torch.tensor(bias).to(test_rows))])
            epochs = [
                _scores_of_epoch((test_rows @ weight + bias).numpy(), test_labels, distance, config.distances)
                for weight, bias in learned
            ]
            tables.append(np.mean(epochs, axis=0))
    return _result(np.array(tables), test_labels, distance, config.distances)


@dataclass(frozen=True)
class WeightedRows:
    """Training rows [N, C], their foreground [N] (1 or 0, of their dtype) and weights [N] (1 on average)."""

    features: Tensor
    foreground: Tensor
    counts: Tensor


def sgd_epoch(weight: Tensor, velocity: Tensor, rows: WeightedRows, order: Tensor, *, config: EvaluationConfig) -> None:
    """Train a linear classifier with two outputs on the cross-entropy for one epoch of SGD, in place.

    Only the difference of its outputs matters, and their gradients are opposite at every step. So `weight` is the
    difference of the two weight vectors, which moves by twice the gradient of one.

    Args:
        weight: [C + 1], foreground minus background; the last entry is the bias.
        velocity: [C + 1], momentum.
        rows: N of them.
        order: [N], the order of the rows.
        config: learning rate, momentum, batch size.
    """
    features, foreground, counts = rows.features, rows.foreground, rows.counts
    buffer = features.new_empty(config.batch_size, features.shape[1])
    for chosen in order.split(config.batch_size):
        batch = torch.index_select(features, 0, chosen, out=buffer[: len(chosen)])
        excess = counts[chosen] * (torch.sigmoid(batch @ weight[:-1] + weight[-1]) - foreground[chosen])
        velocity *= config.momentum
        velocity[:-1] += excess @ batch * (2 / len(chosen))
        velocity[-1] += 2 * excess.mean()
        weight -= config.learning_rate * velocity


@contextmanager
def _one_thread() -> Iterator[None]:
    # The steps are so small that threads wait for each other: measured 10 to 60 times slower with two threads on two
    # busy cores. One thread also makes the scores independent of the number of threads.
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _counted_epochs(
    rows: Tensor, foreground: np.ndarray, config: EvaluationConfig, seed: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield weight [C] and bias of foreground against background after each of the last epochs."""
    random = np.random.default_rng(seed)
    count, channels = rows.shape
    labels, counts = torch.from_numpy(foreground).to(rows), torch.from_numpy(_counts(foreground, config)).to(rows)
    weighted = WeightedRows(rows, labels, counts)
    # The weights of both outputs as torch.nn.Linear draws them.
    background_weight, foreground_weight = random.uniform(-1, 1, (2, channels + 1)) / math.sqrt(channels)
    weight = torch.from_numpy(foreground_weight - background_weight).to(rows)
    velocity = torch.zeros_like(weight)
    steps_in_epoch = -(-count // config.batch_size)
    epochs = max(config.epochs, -(-config.min_steps // steps_in_epoch))
    for epoch in range(epochs):
        order = torch.from_numpy(random.permutation(count))
        sgd_epoch(weight, velocity, weighted, order, config=config)
        if epoch >= epochs - config.counted_epochs:
            yield weight[:-1], weight[-1]


def _counts(foreground: np.ndarray, config: EvaluationConfig) -> np.ndarray:
    """Return the weight of each snippet, [N] float64 of mean 1."""
    if config.weighting == "none":
        return np.ones(len(foreground))
    share = foreground.mean()
    return np.where(foreground, 0.5 / share, 0.5 / (1 - share))


def _prepare(videos: Sequence[LabeledSequence], stream_channels: Sequence[int], role: str) -> tuple[Tensor, np.ndarray]:
    if not videos:
        raise SolaError(f"there are no {role} videos")
    for number, video in enumerate(videos):
        if video.features.ndim != 2 or video.foreground.shape != video.features.shape[:1]:
            raise SolaError(
                f"{role} video number {number}: features must be [T, C] and foreground [T], "
                f"got {list(video.features.shape)} and {list(video.foreground.shape)}"
            )
    channels = {video.features.shape[1] for video in videos}
    streams = list(stream_channels) or [videos[0].features.shape[1]]
    if channels != {sum(streams)}:
        raise SolaError(f"{role} features must have {sum(streams)} channels, got {sorted(channels)}")
    parts = torch.cat([torch.from_numpy(np.array(v.features, dtype=np.float32)) for v in videos]).split(streams, 1)
    rows = torch.cat([F.normalize(part, dim=1) for part in parts], dim=1) / math.sqrt(len(streams))
    if not bool(torch.isfinite(rows).all()):
        raise SolaError(f"the {role} features hold NaN or infinite values: repair these videos")
    labels = np.concatenate([video.foreground for video in videos]).astype(bool)
    if labels.all() or not labels.any():
        kind = "foreground" if labels.all() else "background"
        raise SolaError(f"all {len(labels)} snippets of the {role} videos are {kind}: both are needed")
    return rows, labels


def _scores_of_epoch(
    scores: np.ndarray, foreground: np.ndarray, distance: np.ndarray, distances: Sequence[int]
) -> list[float]:
    right = (scores > 0) == foreground
    near = [_mean(right[distance <= n]) for n in distances]
    away = _mean(right[distance > max(distances)])
    precision = average_precision(foreground, scores)
    return [_mean(right), balanced_accuracy(foreground, scores), precision, *near, away]


def _mean(right: np.ndarray) -> float:
    return float(right.mean()) if len(right) else math.nan


def _result(
    table: np.ndarray, foreground: np.ndarray, distance: np.ndarray, distances: Sequence[int]
) -> EvaluationResult:
    counts = [len(foreground)] * 3
    counts += [int((distance <= n).sum()) for n in distances] + [int((distance > max(distances)).sum())]
    columns = [
        Score(float(column.mean()), float(column.std()), count) if count else None
        for column, count in zip(table.T, counts, strict=True)
    ]
    whole = [score for score in columns[:3] if score is not None]
    share = float(foreground.mean())
    return EvaluationResult(
        accuracy=whole[0],
        balanced_accuracy=whole[1],
        average_precision=whole[2],
        near=dict(zip(distances, columns[3:-1], strict=True)),
        away=columns[-1],
        majority=max(share, 1 - share),
    )

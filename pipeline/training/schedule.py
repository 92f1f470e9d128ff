"""The videos and the learning rate of each optimizer step."""

import math
from collections.abc import Iterator

import numpy as np

from pipeline.heads.config import TrainConfig


def epoch_batches(videos: int, *, config: TrainConfig, rng: np.random.Generator) -> Iterator[list[int]]:
    """Yield the positions of the videos of each step of an epoch: every video once a pass, in random order."""
    passes = max(1, math.ceil(config.min_steps_per_epoch * min(config.batch_size, videos) / videos))
    order = np.concatenate([rng.permutation(videos) for _ in range(passes)])
    size = min(config.batch_size, videos)
    for begin in range(0, len(order), size):
        yield order[begin : begin + size].tolist()


def steps_per_epoch(videos: int, config: TrainConfig) -> int:
    """Return the number of optimizer steps in an epoch."""
    return sum(1 for _ in epoch_batches(videos, config=config, rng=np.random.default_rng(0)))


def learning_rate_at(step: int, *, total_steps: int, config: TrainConfig) -> float:
    """Return the learning rate of `step` (from 0): a linear rise during warm-up, then half a cosine down to 0."""
    warmup = total_steps * min(config.warmup_epochs, config.epochs) / config.epochs
    if step < warmup:
        return config.learning_rate * (step + 1) / (warmup + 1)
    progress = (step - warmup) / max(1.0, total_steps - warmup)
    return config.learning_rate * 0.5 * (1 + math.cos(math.pi * progress))

"""Windows of videos drawn as `train_head` draws them, and their features as its batches: with gradient."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

from pipeline.heads.config import HeadConfig
from pipeline.heads.resize import rescale_snippets
from pipeline.heads.targets import SegmentTargets
from pipeline.training.batches import Batch, TrainItem, random_crop


@dataclass(frozen=True)
class DrawnWindow:
    """The snippets `first` to `first + count` of a video, and the segments in them.

    If `resized` is not 0, the features become that many rows, of which those from `kept[0]` to `kept[1]` remain.
    """

    first: int
    count: int
    targets: SegmentTargets
    resized: int = 0
    kept: tuple[int, int] = (0, 0)


def draw_windows(
    items: Sequence[TrainItem],
    snippets: Sequence[int],
    *,
    labels: Sequence[str],
    config: HeadConfig,
    rng: np.random.Generator,
) -> list[DrawnWindow]:
    """Return a window of each item, with the same draws from `rng` as `make_batch`.

    Args:
        snippets: T of each item.
    """
    drawn = []
    for item, count in zip(items, snippets, strict=True):
        targets, length = item.targets(labels), config.resize_snippets
        if length:
            targets = SegmentTargets(rescale_snippets(targets.segments, source=count, target=length), targets.labels)
        places, targets = random_crop(np.arange(length or count)[:, None], targets, limit=config.train_limit, rng=rng)
        first, end = int(places[0, 0]), int(places[-1, 0]) + 1
        if length:
            drawn.append(DrawnWindow(0, count, targets, length, (first, end)))
        else:
            drawn.append(DrawnWindow(first, end - first, targets))
    return drawn


def batch_of(windows: Sequence[DrawnWindow], features: Sequence[Tensor]) -> Batch:
    """Return the features [n, C] of each window as a padded batch, those on their device, with gradient."""
    rows = [_resized(window, rows) for window, rows in zip(windows, features, strict=True)]
    padded = pad_sequence(rows, batch_first=True)
    lengths = torch.tensor([len(some) for some in rows])
    mask = torch.arange(padded.shape[1]) < lengths[:, None]
    return Batch(padded, mask, [window.targets for window in windows])


def _resized(window: DrawnWindow, rows: Tensor) -> Tensor:
    """Return the rows as `resize_rows` makes them."""
    if not window.resized:
        return rows
    resized = F.interpolate(rows.T[None], size=window.resized, mode="linear", align_corners=False)[0].T
    return resized[window.kept[0] : window.kept[1]]

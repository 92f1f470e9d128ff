"""The encoder's frames of a window of snippets, from the small frames of a video: one crop and flip for all of them."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
import torch
from torch import Tensor

from encoders.spec import EncoderSpec
from pipeline.training.frame_cache import CachedVideo


@dataclass(frozen=True)
class View:
    """The part of a frame that the encoder sees: a square at (top, left), mirrored or not."""

    top: int
    left: int
    size: int
    mirrored: bool = False

    @classmethod
    def center(cls, spec: EncoderSpec, video: CachedVideo) -> View:
        """Return the view of extraction."""
        return cls(*spec.crop_box(video.height, video.width))

    @classmethod
    def random(cls, spec: EncoderSpec, video: CachedVideo, rng: np.random.Generator, *, crop: bool, flip: bool) -> View:
        """Return a view at a random place (with `crop`), mirrored half of the time (with `flip`)."""
        top, left, size = spec.crop_box(video.height, video.width)
        if crop:
            top, left = int(rng.integers(video.height - size + 1)), int(rng.integers(video.width - size + 1))
        return cls(top, left, size, mirrored=flip and bool(rng.random() < 0.5))


@dataclass(frozen=True)
class Window:
    """Consecutive snippets of a video, numbers `first` to `first + count`, seen through one view."""

    video: CachedVideo
    first: int
    count: int
    view: View

    def snippets(self, places: Sequence[int]) -> Tensor:
        """Return snippets of the window, uint8 [n, F, S, S, 3], by their places in it.

        The file is mapped for this call only: what was read does not stay in the process's memory.
        """
        ordinals = self.video.rows()[[self.first + place for place in places]]
        view = self.view
        seen = self.video.pixels()[:, view.top : view.top + view.size, view.left : view.left + view.size]
        pixels = torch.from_numpy(np.asarray(seen[ordinals]))
        return pixels.flip(3) if view.mirrored else pixels


class Windows:
    """The snippets of several windows, numbered through, from the first of the first to the last of the last."""

    def __init__(self, windows: Sequence[Window]) -> None:
        self._windows = windows
        self._ends = list(accumulate(window.count for window in windows))

    def __len__(self) -> int:
        return self._ends[-1]

    def read(self, rows: Sequence[int]) -> Tensor:
        """Return snippets, uint8 [n, F, S, S, 3], by their ascending numbers."""
        places: dict[int, list[int]] = {}
        for row in rows:
            number = bisect_right(self._ends, row)
            places.setdefault(number, []).append(row - self._ends[number] + self._windows[number].count)
        return torch.cat([self._windows[number].snippets(those) for number, those in places.items()])

    def split(self, features: Tensor) -> list[Tensor]:
        """Return the rows of features [T of all, C] as those of each window."""
        return list(features.split([window.count for window in self._windows]))

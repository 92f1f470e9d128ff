"""Which frames a synthetic video shows: regions of one video pasted into others. Plans only; no pictures.

Frames are counted on the encoder's grid. All intervals are half-open.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from encoders.spec import EncoderSpec
from pipeline.pretraining.data import cells_of
from pipeline.pretraining.pal_config import PalConfig

Interval = tuple[int, int]


@dataclass(frozen=True)
class ClipGrid:
    """The windows of a synthetic video.

    Args:
        clips: T', the number of windows.
        stride: frames between the beginnings of two windows.
        window: frames of a window.
        cells: the frames of a window that the network uses.
    """

    clips: int
    stride: int
    window: int
    cells: tuple[int, ...]

    @classmethod
    def of(cls, spec: EncoderSpec, config: PalConfig) -> ClipGrid:
        """Return the windows that the encoder and the settings ask for."""
        return cls(config.clips, config.clip_stride_frames, spec.window_frames, cells_of(spec))

    @property
    def length(self) -> int:
        """L, the frames of a synthetic video."""
        return (self.clips - 1) * self.stride + self.window

    @property
    def frames(self) -> NDArray[np.int64]:
        """The frames of each window that the network uses, [T', F]."""
        return np.arange(self.clips)[:, None] * self.stride + np.array(self.cells)[None, :]


@dataclass(frozen=True)
class Span:
    """L successive frames of a video, from frame `first` of one of its stretches."""

    video: int
    stretch: int
    first: int


@dataclass(frozen=True)
class Paste:
    """A synthetic video: `background`, with `region` of `source` shown in `place`.

    Args:
        source: the span that the region is part of.
        background: the span that the rest shows.
        region: frames of the source span.
        place: frames of the synthetic video that show the region, faster or slower.
    """

    source: Span
    background: Span
    region: Interval
    place: Interval

    def source_frames(self) -> NDArray[np.int64]:
        """Return the frame of the source span that each frame of `place` shows: the one at the same share of it."""
        shown, there = self.place[1] - self.place[0], self.region[1] - self.region[0]
        return self.region[0] + (2 * np.arange(shown) + 1) * there // (2 * shown)

    def weights(self, length: int, *, blend: int) -> NDArray[np.float64]:
        """Return the share of the source in each frame of the synthetic video, 0 to 1, [L].

        It is above 0 in `place` only, and rises and falls within `blend` frames of its ends.
        """
        start, stop = self.place
        middle = np.arange(length) + 0.5
        depth = np.minimum(middle - start, stop - middle)  # frames to the nearer end, below 0 outside
        return np.clip(depth / blend, 0, 1) if blend else (depth > 0).astype(np.float64)

    def place_of(self, interval: tuple[float, float]) -> tuple[float, float]:
        """Return the frames of the synthetic video that show an interval of the source span, exact, in fractions."""
        scale = (self.place[1] - self.place[0]) / (self.region[1] - self.region[0])
        start, stop = (self.place[0] + (time - self.region[0]) * scale for time in interval)
        return start, stop


@dataclass(frozen=True)
class Pair:
    """Two synthetic videos with regions of one source span, in two backgrounds."""

    pastes: tuple[Paste, Paste]

    @property
    def source(self) -> int:
        """The number of the source video."""
        return self.pastes[0].source.video

    @property
    def shared(self) -> Interval | None:
        """The frames of the source span that both regions show, or None."""
        one, two = (paste.region for paste in self.pastes)
        start, stop = max(one[0], two[0]), min(one[1], two[1])
        return (start, stop) if start < stop else None


def plan_epoch(
    videos: Sequence[Sequence[int]], grid: ClipGrid, config: PalConfig, *, seed: Sequence[int]
) -> list[list[Pair]]:
    """Return the pairs of each step of an epoch. In each round every video is a source at most once.

    Videos that are left over when a round is cut into steps wait for the next round.

    Args:
        videos: for each video the frames of its stretches, each at least L.
        seed: of all that is random: the same seed gives the same plan.
    """
    steps = []
    for turn in range(config.rounds):
        order = np.random.default_rng([*seed, turn, 0]).permutation(len(videos))
        for step in range(len(videos) // config.sources):
            chosen = order[step * config.sources : (step + 1) * config.sources]
            steps.append(plan_step(videos, chosen.tolist(), grid, config, seed=[*seed, turn, step + 1]))
    return steps


def plan_step(
    videos: Sequence[Sequence[int]], chosen: Sequence[int], grid: ClipGrid, config: PalConfig, *, seed: Sequence[int]
) -> list[Pair]:
    """Return one pair for each of B >= 3 chosen videos, whose backgrounds are two others of them.

    Each video is a background twice. Source and backgrounds of a pair are three videos.
    """
    rng = np.random.default_rng(list(seed))
    one, two = two_derangements(rng, len(chosen))
    pairs = []
    for place, video in enumerate(chosen):
        source = _span(rng, videos, video, grid.length)
        regions = _two_regions(rng, grid.length, config)
        pastes = [
            Paste(source, _span(rng, videos, chosen[other[place]], grid.length), region, _place(rng, grid, config))
            for other, region in zip((one, two), regions, strict=True)
        ]
        pairs.append(Pair((pastes[0], pastes[1])))
    return pairs


def two_derangements(rng: np.random.Generator, count: int) -> tuple[list[int], list[int]]:
    """Return two permutations that differ from the identity, and from each other, in every place.

    They shift a random order by two random distances, so that every other item is equally likely.

    Args:
        count: items, at least 3.
    """
    order = rng.permutation(count)
    shifts = 1 + rng.choice(count - 1, size=2, replace=False)
    found = []
    for shift in shifts:
        permutation = np.empty(count, dtype=np.int64)
        permutation[order] = np.roll(order, shift)
        found.append(permutation.tolist())
    return found[0], found[1]


def _span(rng: np.random.Generator, videos: Sequence[Sequence[int]], video: int, length: int) -> Span:
    """Draw a span; all spans of a video are equally likely."""
    starts = [frames - length + 1 for frames in videos[video]]
    first = int(rng.integers(sum(starts)))
    for stretch, count in enumerate(starts):
        if first < count:
            return Span(video, stretch, first)
        first -= count
    raise AssertionError("the draw is below the sum")


def _two_regions(rng: np.random.Generator, length: int, config: PalConfig) -> tuple[Interval, Interval]:
    """Draw two regions of a span. The second is moved no further than `min_shared` allows."""
    one, two = (_drawn_length(rng, config.region_share, length) for _ in range(2))
    start = int(rng.integers(length - one + 1))
    lowest, highest = 0, length - two
    if config.min_shared > 0:
        need = math.ceil(config.min_shared * min(one, two))
        lowest, highest = max(lowest, start + need - two), min(highest, start + one - need)
    other = int(rng.integers(lowest, highest + 1))
    return (start, start + one), (other, other + two)


def _place(rng: np.random.Generator, grid: ClipGrid, config: PalConfig) -> Interval:
    """Draw where a region is shown. Neither end lies where a window begins.

    An encoder of separate windows sees the background only in windows that an end cuts. With both ends between windows
    there would be none, and nothing to learn from the boundary.
    """
    shown = _drawn_length(rng, config.paste_share, grid.length)
    starts = np.arange(grid.length - shown + 1)
    starts = starts[(starts % grid.stride != 0) & ((starts + shown) % grid.stride != 0)]
    start = int(rng.choice(starts))
    return start, start + shown


def _drawn_length(rng: np.random.Generator, share: tuple[float, float], length: int) -> int:
    shortest = max(1, math.ceil(share[0] * length))
    return int(rng.integers(shortest, max(shortest, math.floor(share[1] * length)) + 1))

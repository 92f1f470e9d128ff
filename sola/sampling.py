"""Draw the windows of each training step, and read them.

The windows of an epoch depend on the seed, the epoch's number and the videos' lengths alone, never on earlier draws.
So an interrupted fit can resume exactly where it stopped without saving a random state.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from sola.config import Padding, SolaConfig
from sola.errors import SolaError
from sola.padding import rows_beyond_ends


class FeatureSource(Protocol):
    """Feature sequences by number; memory-mapped files will do, so that a window reads only its own rows.

    Several threads may read rows at once.
    """

    def __len__(self) -> int:
        """Return the number of videos."""
        ...

    def length(self, index: int) -> int:
        """Return T, the number of snippets of a video."""
        ...

    def rows(self, index: int, start: int, stop: int) -> np.ndarray:
        """Return features [stop - start, C] of the snippets [start, stop) of a video, float16 or float32."""
        ...


@runtime_checkable
class PrefetchingSource(FeatureSource, Protocol):
    """A source that can read several windows at once, before they are requested."""

    def prefetch(self, windows: Sequence[tuple[int, int, int]]) -> None:
        """Prefetch these (index, start, stop), which the next calls of `rows` request."""
        ...


@dataclass(frozen=True)
class Windows:
    """Windows: the video of each, and the snippet of the video at the window's position 0.

    `firsts` is negative if a window begins before a short video does.
    """

    videos: np.ndarray
    firsts: np.ndarray

    def __len__(self) -> int:
        return len(self.videos)


@dataclass(frozen=True)
class WindowBatch:
    """Rows [B, R, C] of windows at the requested positions, and where in the window the video lies.

    `first` and `end` [B] bound the video's positions, half-open; rows outside are zero.
    """

    rows: Tensor
    first: Tensor
    end: Tensor

    def inside(self, positions: Tensor) -> Tensor:
        """Return whether each position [S] lies in the video, [B, S] bool."""
        return (positions >= self.first[:, None]) & (positions < self.end[:, None])


def lengths_of(source: FeatureSource) -> np.ndarray:
    """Return the number of snippets of every video, int64.

    Raises:
        SolaError: there is no video, or one has no snippets.
    """
    lengths = np.array([source.length(index) for index in range(len(source))], dtype=np.int64)
    if len(lengths) == 0:
        raise SolaError("there are no feature sequences to fit on: give at least one video")
    shortest = int(np.argmin(lengths))
    if lengths[shortest] < 1:
        raise SolaError(f"video number {shortest} has no snippets: leave it out of the data")
    return lengths


def draw_epoch(lengths: np.ndarray, config: SolaConfig, epoch: int) -> Windows:
    """Return the windows of an epoch, shuffled: `windows_per_video` of each video.

    A window lies inside a video of at least the window's length, all places equally likely. A shorter video lies whole
    inside its window, at any place that puts one of its snippets at a compared position, all equally likely. So the
    module sees it as at inference, with the convolution's own padding at its ends, and all its snippets are compared
    in turn instead of always the first ones. Positions beyond its ends do not count.

    Args:
        lengths: [V] int64, snippets of each video.
        config: the window, the positions, the seed.
        epoch: counted from 0.
    """
    random = np.random.default_rng([config.seed, epoch])
    videos = np.tile(np.arange(len(lengths)), config.windows_per_video)
    videos = videos[random.permutation(len(videos))]
    # One random number for each window of any kind, so that one video's length does not change another's draw.
    fractions = random.random(len(videos))
    lengths = lengths[videos]
    firsts = np.floor(fractions * (lengths - config.window_snippets + 1)).astype(np.int64)
    for length in np.unique(lengths[lengths < config.window_snippets]):
        places = _places_of_short_video(int(length), config)
        chosen = lengths == length
        firsts[chosen] = -places[np.floor(fractions[chosen] * len(places)).astype(np.int64)]
    return Windows(videos, firsts)


def _places_of_short_video(length: int, config: SolaConfig) -> np.ndarray:
    places = np.arange(config.window_snippets - length + 1)
    positions = np.array(config.positions)
    compared = (positions >= places[:, None]) & (positions < places[:, None] + length)
    return places[compared.any(axis=1)]


def split_into_steps(windows: Windows, batch_size: int) -> list[Windows]:
    """Split the windows into steps of nearly equal size, at most batch_size, so that no step is left with a few."""
    parts = -(-len(windows) // batch_size)
    return [
        Windows(videos, firsts)
        for videos, firsts in zip(
            np.array_split(windows.videos, parts), np.array_split(windows.firsts, parts), strict=True
        )
    ]


def steps_in_epoch(videos: int, config: SolaConfig) -> int:
    """Return the number of optimizer steps in an epoch over this many videos."""
    return -(-videos * config.windows_per_video // config.batch_size)


def rows_of(source: FeatureSource, video: int, start: int, stop: int, *, channels: int) -> np.ndarray:
    """Return the rows [start, stop) of a video, [n, C].

    Raises:
        SolaError: the video does not have C channels.
    """
    block = source.rows(video, start, stop)
    if block.shape != (stop - start, channels):
        raise SolaError(
            f"video number {video} gave features of shape {list(block.shape)} for {stop - start} snippets; "
            f"all videos of one fit must have {channels} channels"
        )
    return block


def read_windows(
    source: FeatureSource,
    windows: Windows,
    positions: Sequence[int],
    *,
    channels: int,
    window_snippets: int,
    padding: Padding,
) -> WindowBatch:
    """Read the rows of the windows at ascending positions, float32, in one piece for each window.

    Args:
        source: the videos.
        windows: what to read.
        positions: in the window; those outside the video or outside [0, window_snippets) give padding.
        channels: C.
        window_snippets: the window's length.
        padding: what stands there.

    Raises:
        SolaError: a video does not have C channels.
    """
    low, span = positions[0], positions[-1] - positions[0] + 1
    lengths = np.array([source.length(int(video)) for video in windows.videos])
    first = np.maximum(0, -windows.firsts)
    end = np.minimum(window_snippets, lengths - windows.firsts)
    rows = np.zeros((len(windows), span, channels), dtype=np.float32)
    # The positions that each position shows: other than itself beyond the ends.
    shown = [
        begin + rows_beyond_ends(np.arange(low - begin, low - begin + span), stop - begin, padding)
        for begin, stop in zip(first, end, strict=True)
    ]
    starts, stops = np.maximum(low, first), np.minimum(low + span, end)
    if padding != "zeros":
        starts, stops = np.array([s.min() for s in shown]), np.array([s.max() + 1 for s in shown])
    if isinstance(source, PrefetchingSource):
        parts = zip(windows.videos, starts + windows.firsts, stops + windows.firsts, strict=True)
        source.prefetch([(int(video), int(start), int(stop)) for video, start, stop in parts if start < stop])
    for item, (video, offset) in enumerate(zip(windows.videos, windows.firsts, strict=True)):
        start, stop = int(starts[item]), int(stops[item])
        if start >= stop:
            continue
        block = rows_of(source, int(video), start + int(offset), stop + int(offset), channels=channels)
        if padding == "zeros":
            rows[item, start - low : stop - low] = block
        else:
            rows[item] = block[shown[item] - start]
    wanted = torch.tensor(positions) - low
    tensor = torch.from_numpy(rows)
    return WindowBatch(
        rows=tensor if len(wanted) == span else tensor[:, wanted],
        first=torch.from_numpy(first),
        end=torch.from_numpy(end),
    )

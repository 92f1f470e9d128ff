"""What a pool of decoders tells of each video: its snippets, and how it ended."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.video.errors import FailureKind
from pipeline.video.metadata import VideoInfo
from pipeline.video.report import DecodeReport
from pipeline.video.videos import VideoFile


@dataclass(frozen=True)
class Snippets:
    """Consecutive snippets of one video. Its rows arrive in order; those of several videos are interleaved.

    Args:
        first_row: row of the first snippet.
        ordinals: int64 [m, F], m >= 1; with flow [m, F * L]. Equal ones are the same frame, also in the next events of
            the video.
        held: int64 [P], the ordinals that occur, ascending.
        pictures: uint8 [P, H, W, 3], their frames, RGB; with flow [P, H, W, 5], RGB and flow.
        audio: int16 [m, N], the samples of their windows; None: not wanted.
    """

    video: VideoFile
    first_row: int
    ordinals: NDArray[np.int64]
    held: NDArray[np.int64]
    pictures: NDArray[np.uint8]
    audio: NDArray[np.int16] | None = None

    def __len__(self) -> int:
        return len(self.ordinals)

    @property
    def places(self) -> NDArray[np.int64]:
        """The frames of each snippet as places in `pictures`, int64 [m, F]."""
        return np.searchsorted(self.held, self.ordinals)

    @property
    def frames(self) -> NDArray[np.uint8]:
        """A copy of the frames of each snippet, uint8 [m, F, H, W, 3]; with flow [m, F * L, H, W, 5]."""
        return self.pictures[self.places]

    def rows(self, start: int, end: int) -> Snippets:
        """Return some of the snippets, counted from the first."""
        audio = None if self.audio is None else self.audio[start:end]
        return Snippets(self.video, self.first_row + start, self.ordinals[start:end], self.held, self.pictures, audio)


@dataclass(frozen=True)
class Restarted:
    """The decoder of a video, on another machine, died: all its rows so far are void and come again from row 0.

    Only `pipeline.extraction.ray_decoders.RemoteDecoders` yields this, never a pool.
    """

    video: VideoFile
    reason: str


@dataclass(frozen=True)
class Finished:
    """A video is complete: all `report.num_snippets` rows have arrived since its start or its last restart."""

    video: VideoFile
    info: VideoInfo
    report: DecodeReport


@dataclass(frozen=True)
class Failed:
    """A video is given up; its rows so far are void."""

    video: VideoFile
    kind: FailureKind
    reason: str


@dataclass(frozen=True)
class LongVideo:
    """A `pipeline.video.ranges.CuttableVideo` that exceeds its `longest_seconds` and was not decoded."""

    video: VideoFile
    info: VideoInfo


Event = Snippets | Restarted | Finished | Failed | LongVideo

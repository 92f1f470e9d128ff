"""The options of a report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from pipeline.errors import PipelineError
from sola.old_names import Renamed


@dataclass(frozen=True, kw_only=True)
class ReportConfig:
    """What a report shows."""

    RENAMED: ClassVar[Mapping[str, Renamed]] = {"most_detections": Renamed("max_detections")}

    tsm_videos: int = 3
    """Number of videos to draw the temporal self-similarity of; those with most kinds of actions come first."""

    max_detections: int = 100
    """Maximum number of detections to show of a video, highest scores first."""

    linear_evaluation: bool = True
    """Also measure the features without a head, as `linear-probe` does; --no-linear-evaluation saves that time."""

    thumbnails: bool = True
    """Show small pictures along each video; --no-thumbnails saves the time to decode them."""

    playable_copies: bool = False
    """Make a small copy without sound of each video that browsers may not play: at most 360 lines high, H.264 in MP4
    (VP8 in WebM if the installed FFmpeg has no H.264)."""

    frame_rate: float | None = None
    """With --videos: take folders of numbered pictures as videos, at this many pictures a second. A store knows it."""

    def __post_init__(self) -> None:
        if self.frame_rate is not None and not 0 < self.frame_rate < float("inf"):
            raise PipelineError(f"frame_rate must be > 0, got {self.frame_rate}")
        if self.tsm_videos < 0:
            raise PipelineError(f"tsm_videos must be >= 0, got {self.tsm_videos}")
        if self.max_detections < 1:
            raise PipelineError(f"max_detections must be >= 1, got {self.max_detections}")

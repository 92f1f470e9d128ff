"""The settings of `show`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pipeline.errors import PipelineError

Form = Literal["csv", "jsonl", "srt", "vtt", "chapters", "otio", "clips", "montage"]


@dataclass(frozen=True, kw_only=True)
class ShowConfig:
    """Which detections to show, and how to cut."""

    min_score: float | None = None
    """Show detections with at least this score. Default: the score of best F1 on the validation videos, if the model
    knew one when it wrote the file; else the best 10 detections of each video."""

    labels: tuple[str, ...] = ()
    """Show these labels only."""

    max_per_video: int | None = None
    """Maximum number of detections of a video, best first. Default: all that have the score."""

    max_per_label: int | None = None
    """Maximum number of detections of a label over all videos, best first. Default: all; in a montage 20."""

    cut: Literal["copy", "exact"] = "copy"
    """How to cut clips. copy: copy the streams, fast and without loss; a clip begins at the last key frame before the
    action. exact: encode the pictures again; a clip begins and ends at the right frame."""

    frame_rate: float | None = None
    """With --videos: take folders of numbered pictures as videos, at this many pictures a second."""

    def __post_init__(self) -> None:
        if self.frame_rate is not None and not 0 < self.frame_rate < float("inf"):
            raise PipelineError(f"frame_rate must be > 0, got {self.frame_rate}")
        for name in ("max_per_video", "max_per_label"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise PipelineError(f"{name} must be >= 1, got {value}")
        if self.min_score is not None and not abs(self.min_score) < float("inf"):  # also refuses NaN
            raise PipelineError(f"min_score must be a number, got {self.min_score}")

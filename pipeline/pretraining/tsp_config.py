"""The settings of the tasks tac and tsp, each written once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pipeline.errors import PipelineError


@dataclass(frozen=True, kw_only=True)
class TspConfig:
    """How tac and tsp take clips from annotated videos."""

    clips_per_row: int = 5
    """Clips of each segment and each gap in an epoch, however long it is."""

    short_segments: Literal["center", "drop"] = "center"
    """What to do with a segment shorter than a clip: take one clip around its middle (center), or leave it out (drop),
    as published."""

    min_gap_clips: float = 1.0
    """With --task tsp: shortest gap between segments that is used, in lengths of a clip."""

    global_feature: Literal["max", "mean", "none"] = "max"
    """With --task tsp: what the region head sees of the whole video: the maximum of each feature over time, the mean,
    or nothing. It comes from the encoder before training, and stays as it is."""

    def __post_init__(self) -> None:
        if self.clips_per_row < 1:
            raise PipelineError(f"tsp.clips_per_row must be >= 1, got {self.clips_per_row}")
        if not 1 <= self.min_gap_clips < float("inf"):
            raise PipelineError(f"tsp.min_gap_clips must be >= 1, got {self.min_gap_clips}")

"""The settings of boundary-sensitive pretraining (BSP), each written once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pipeline.errors import PipelineError

Join = Literal["published", "cut", "blend"]


@dataclass(frozen=True, kw_only=True)
class BspConfig:
    """How clips with a boundary are made of trimmed clips. We know no numbers of the paper: all are proposals."""

    join: Join = "published"
    """How two videos are joined. published: blended if their classes differ, cut if not. The join alone then gives the
    type away: cut and blend join both types in the same way."""

    boundary_share: float = 0.5
    """Share of the window, around its middle, that the boundary falls into (our proposal)."""

    blend_share: float = 0.25
    """Length of a blend as a share of the window (our proposal)."""

    speed_ratios: tuple[float, ...] = (0.5, 2.0, 4.0)
    """Speed after the boundary by speed before it; one is drawn for each clip (our proposal). The slower part has the
    network's own frame step, the faster one skips frames."""

    test_clips: int = 400
    """Number of made clips of the held-out videos that measure the accuracy."""

    def __post_init__(self) -> None:
        if not 0 < self.boundary_share < 1:
            raise PipelineError(f"boundary_share must be > 0 and < 1, got {self.boundary_share}")
        if not 0 < self.blend_share <= 1 - self.boundary_share:
            raise PipelineError(
                f"blend_share must be > 0 and <= 1 - boundary_share = {1 - self.boundary_share:g}, so that the blend "
                f"is inside the window, got {self.blend_share}"
            )
        if not self.speed_ratios or not all(0 < ratio < float("inf") and ratio != 1 for ratio in self.speed_ratios):
            raise PipelineError(f"speed_ratios must be numbers > 0 other than 1, got {self.speed_ratios}")
        if self.test_clips < 4:
            raise PipelineError(f"test_clips must be >= 4, got {self.test_clips}")

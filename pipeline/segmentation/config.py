"""The settings of what needs no labels, each written once."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.errors import PipelineError


@dataclass(frozen=True, kw_only=True)
class SegmentConfig:
    """How videos are cut into segments and these are grouped."""

    kinds: int | None = None
    """Number of kinds of segments. Default: from 2 to 20, by the data."""

    boundary_price: float = 1.0
    """What a boundary costs, relative to the default: 2 gives fewer and longer segments, 0.5 more and shorter ones."""

    max_pictures: int = 200
    """Draw the self-similarity of this many videos at most; 0: of none."""

    def __post_init__(self) -> None:
        if self.kinds is not None and self.kinds < 1:
            raise PipelineError(f"kinds must be >= 1, got {self.kinds}")
        if not 0 < self.boundary_price < float("inf"):
            raise PipelineError(f"boundary_price must be > 0, got {self.boundary_price}")
        if self.max_pictures < 0:
            raise PipelineError(f"max_pictures must be >= 0, got {self.max_pictures}")

"""The settings of the task "after PAL", each written once."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.errors import PipelineError


@dataclass(frozen=True, kw_only=True)
class PalConfig:
    """How regions of unlabeled videos are pasted and compared. The paper tells none of these numbers."""

    sources: int = 4
    """Videos in one optimizer step. Each gives two regions, and each is the background of two others. batch_size has no
    effect."""

    clips: int = 16
    """Windows of a synthetic video. A step encodes 2 * sources * clips of them; memory grows with that."""

    clip_stride_frames: int = 16
    """Frames between two windows of a synthetic video, at the encoder's rate."""

    region_share: tuple[float, float] = (0.2, 0.6)
    """Shortest and longest region, as a share of a synthetic video's length."""

    paste_share: tuple[float, float] = (0.2, 0.6)
    """The same after pasting. A region is played faster or slower to fit."""

    min_shared: float = 0.5
    """Least share of the shorter region of a video that is in the other one too. 0: the two need not meet."""

    blend_frames: int = 0
    """Frames at both ends of a paste that fade into the background. 0: hard cuts."""

    augment: bool = True
    """Show each background and each region in a random crop, mirroring, brightness and contrast of its own."""

    bins: int = 4
    """Parts of equal time that a region's features are sampled in."""

    projection_dim: int = 128
    """Length of the vectors that are compared."""

    temperature: float = 0.07
    """Divides similarities before the softmax."""

    queue: int = 128
    """Regions of earlier steps to compare with. A step brings 2 * sources new ones. They must not be so old that their
    age tells them apart: raise it only together with momentum."""

    momentum: float = 0.99
    """Share of the old weights in each step of the key network's moving average; 0.999 suits runs of many thousand
    steps."""

    dense_weight: float = 1.0
    """Weight of the loss that compares moments of equal source time."""

    localization_weight: float = 0.0
    """Weight of the loss of a small head that says where the paste begins and ends. 0: no such head."""

    rounds: int = 4
    """Times that an epoch takes each video as a source; for a held-out video, in a test."""

    max_video_seconds: float = 60.0
    """Use evenly chosen stretches of longer videos, this long together, so that the small frames take little space."""

    def __post_init__(self) -> None:
        least = {"sources": 3, "clips": 3, "clip_stride_frames": 3, "blend_frames": 0, "bins": 1, "projection_dim": 1}
        for name, bound in {**least, "queue": 1, "rounds": 1}.items():
            if getattr(self, name) < bound:
                raise PipelineError(f"pal.{name} must be >= {bound}, got {getattr(self, name)}")
        for name in ("region_share", "paste_share"):
            low, high = getattr(self, name)
            if not 0 < low <= high <= 0.8:
                raise PipelineError(f"pal.{name} must be two numbers, 0 < shortest <= longest <= 0.8, got {low} {high}")
        for name in ("temperature", "max_video_seconds"):
            if not 0 < getattr(self, name) < float("inf"):
                raise PipelineError(f"pal.{name} must be > 0, got {getattr(self, name)}")
        for name in ("dense_weight", "localization_weight"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise PipelineError(f"pal.{name} must be >= 0, got {getattr(self, name)}")
        if not 0 <= self.min_shared <= 1:
            raise PipelineError(f"pal.min_shared must be 0 to 1, got {self.min_shared}")
        if not 0 <= self.momentum < 1:
            raise PipelineError(f"pal.momentum must be >= 0 and < 1, got {self.momentum}")

"""The options of evaluation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from pipeline.annotations.segments import TOLERANCE_SECONDS, check_tolerance
from pipeline.errors import PipelineError
from sola.old_names import Renamed


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig:
    """How detections are compared with ground truth."""

    RENAMED: ClassVar[Mapping[str, Renamed]] = {"details": Renamed("diagnose")}
    ADDED: ClassVar[tuple[str, ...]] = ("tolerance_seconds",)

    subset: str = "validation"
    """Subset of the annotations to evaluate on (train/training, val/validation, test/testing), or "all"."""

    protocol: Literal["sola", "activitynet", "actionformer", "opentad", "thumos"] = "sola"
    """Whose rules to follow. sola is this project's own: ActivityNet's definition on the videos of the subset alone. It
    leaves out, and counts, detections of other videos and ground truth of no length. The others do as their published
    code does. They count detections of other videos as false positives. They keep ground truth beyond its video, and
    of no length (which is then missed; actionformer and opentad leave it out). actionformer and opentad drop ground
    truth that repeats within 1 ms. thumos counts Ambiguous segments neither for nor against. sola, activitynet and
    opentad know blocked videos. All ignore detections of classes that the ground truth lacks, and rank equal scores by
    video id, then by their order in the file. The result states every choice."""

    blocked_videos: Path | None = None
    """Videos to leave out, as ActivityNet has them: a JSON list of ids, or a text file with one id per line."""

    tolerance_seconds: float = TOLERANCE_SECONDS
    """How far a segment of the subset may overshoot its video: this much, or 1 % of the duration if that is more. One
    that overshoots by more stops the evaluation."""

    tious: tuple[float, ...] = ()
    """Your own tIoU thresholds, beside those of ActivityNet (0.5:0.05:0.95) and THUMOS14 (0.3:0.1:0.7)."""

    diagnose: bool = False
    """Also report recall of proposals (AR@AN), mAP by segment length, and the kinds of errors."""

    def __post_init__(self) -> None:
        if self.blocked_videos is not None and self.protocol not in ("sola", "activitynet", "opentad"):
            raise PipelineError(f"blocked_videos must not be given for protocol={self.protocol}, which has none")
        for tiou in self.tious:
            if not 0 < tiou <= 1:
                raise PipelineError(f"tious must be > 0 and <= 1, got {tiou}")
        check_tolerance(self.tolerance_seconds)

"""The settings of the command `annotations`. Each option is written once, here, with its unit and default."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pipeline.annotations.segments import TOLERANCE_SECONDS, check_tolerance
from pipeline.errors import PipelineError

To = Literal["activitynet", "csv", "elan", "via", "cvat", "label-studio", "boris", "audacity"]


@dataclass(frozen=True, kw_only=True)
class ConvertConfig:
    """How labels are read, split and written."""

    to: To | None = None
    """Form to write. By default the suffix of --out says it: .json for activitynet (the annotations of all commands),
    .csv, .eaf for elan, .xml for cvat, .boris, .txt for audacity. elan, cvat and audacity have one file for each video:
    several videos get a folder."""

    validation: float = 0.0
    """Share of the videos to put into the subset validation, 0 to 1: whole videos, every label on both sides where that
    is possible. The others but those for testing are for training. 0: keep the subsets of the files."""

    seed: int = 0
    """Start of the random choice of validation videos."""

    fps: float = 0.0
    """Frames per second that files count in which labels are frames (CVAT, Label Studio). 0: as the file says, else the
    rate of the videos."""

    min_score: float | None = None
    """Take only detections with this score or more. Detections are made annotations only with this option."""

    tolerance_seconds: float = TOLERANCE_SECONDS
    """How far a segment may overshoot its video: this much, or 1 % of the duration if that is more. It is then cut at
    the video's end; one that overshoots by more is a fault."""

    skip_faults: bool = False
    """Leave out lines and videos that have a fault. By default nothing is written then."""

    def __post_init__(self) -> None:
        if not 0 <= self.validation < 1:
            raise PipelineError(f"validation must be at least 0 and less than 1, got {self.validation}")
        if not 0 <= self.fps < 1e6:
            raise PipelineError(f"fps must be >= 0, got {self.fps}")
        if self.min_score is not None and not abs(self.min_score) < 1e12:
            raise PipelineError(f"min_score must be finite, got {self.min_score}")
        check_tolerance(self.tolerance_seconds)

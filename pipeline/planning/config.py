"""The settings of `plan`, in a file that the command line reads without loading torch."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.errors import PipelineError


@dataclass(frozen=True, kw_only=True)
class PlanConfig:
    """For how many machines and how many videos is planned, and what all machines share."""

    machines: tuple[int, ...] = (1, 8, 64, 512)
    """Numbers of machines like this one, each at work on the videos."""

    hours: float | None = None
    """Plan for so many hours of videos like these. Default: for these."""

    network_gbit: float = 10.0
    """Gigabits a second at which the videos' storage serves all machines together."""

    files_per_second: float = 1000.0
    """Files a second that the store's file system makes for all machines together."""

    sample: int = 8
    """Videos that are looked into and decoded."""

    decode_seconds: float = 20.0
    """For how long at most videos of the sample are decoded, and then decoded and encoded."""

    def __post_init__(self) -> None:
        if not self.machines or min(self.machines) < 1:
            raise PipelineError(f"machines must be one or more numbers >= 1, got {self.machines}")
        for name in ("hours", "network_gbit", "files_per_second", "sample", "decode_seconds"):
            value = getattr(self, name)
            if value is not None and not 0 < value < float("inf"):
                raise PipelineError(f"{name} must be > 0, got {value}")

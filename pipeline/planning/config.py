"""The settings of `plan`, in a file that the command line reads without loading torch."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.errors import PipelineError


@dataclass(frozen=True, kw_only=True)
class PlanConfig:
    """How many machines and videos to plan for, and what all machines share."""

    machines: tuple[int, ...] = (1, 8, 64, 512)
    """Numbers of machines like this one to plan for."""

    hours: float | None = None
    """Plan for this many hours of videos like these. Default: for these videos."""

    network_gbit: float = 10.0
    """Gigabits per second of the videos' storage, for all machines together."""

    files_per_second: float = 1000.0
    """Files per second that the store's file system can create, for all machines together."""

    sample: int = 8
    """Number of videos to inspect and decode."""

    decode_seconds: float = 20.0
    """Time limit for decoding the sample, and again for decoding and encoding it."""

    def __post_init__(self) -> None:
        if not self.machines or min(self.machines) < 1:
            raise PipelineError(f"machines must be one or more numbers >= 1, got {self.machines}")
        for name in ("hours", "network_gbit", "files_per_second", "sample", "decode_seconds"):
            value = getattr(self, name)
            if value is not None and not 0 < value < float("inf"):
                raise PipelineError(f"{name} must be > 0, got {value}")

"""When a video is given up; loads no decoder, since the settings need it."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.errors import PipelineError

DEFAULT_MAX_PIXELS = 8192 * 8192
DEFAULT_MAX_SECONDS = 48 * 3600


@dataclass(frozen=True, kw_only=True)
class DecodeLimits:
    """The limits beyond which a video is given up.

    Args:
        timeout_seconds: time without progress after which the decoder is killed.
        memory_bytes: address space that a decoder may add after its start.
        max_pixels: most pixels per frame.
        max_seconds: longest video.
        max_corrupt: largest accepted share of damaged frames, 0 to 1.
    """

    timeout_seconds: float = 60.0
    memory_bytes: int = 4 << 30
    max_pixels: int = DEFAULT_MAX_PIXELS
    max_seconds: int = DEFAULT_MAX_SECONDS
    max_corrupt: float = 0.05

    def __post_init__(self) -> None:
        for name in ("timeout_seconds", "memory_bytes", "max_pixels", "max_seconds"):
            if not getattr(self, name) > 0:
                raise PipelineError(f"{name} must be > 0, got {getattr(self, name)}")
        if not 0 <= self.max_corrupt <= 1:
            raise PipelineError(f"max_corrupt must be from 0 to 1, got {self.max_corrupt}")

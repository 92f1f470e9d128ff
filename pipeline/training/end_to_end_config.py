"""The options of `train --end-to-end` beside those of `train`: the encoder, its snippets, and how it learns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pipeline.errors import PipelineError
from pipeline.extraction.config import ExtractConfig


@dataclass(frozen=True, kw_only=True)
class EndToEndConfig:
    """The encoder that is trained with the head, its snippets, and how it learns."""

    encoder: str = "i3d_r50"
    """The encoder to train, as for `extract`."""

    weights: str = "kinetics400"
    """Weights to start from, as for `extract`; random ones have the seed --seed."""

    pool: str | None = None
    """How tokens become one vector, as for `extract`."""

    size: int = 0
    """Side of the pictures in pixels; half the side takes a quarter of the time. 0: that of the weights."""

    fps: float | Literal["video"] | None = None
    """Frames per second that the encoder sees, as for `extract`."""

    window_frames: float | None = None
    """Length of a snippet in frames, as for `extract`."""

    stride_frames: float | None = None
    """Distance of two snippets in frames, as for `extract`. Default: 16."""

    stride_seconds: float | None = None
    """The distance in seconds."""

    encoder_learning_rate: float = 1e-5
    """Peak learning rate of the encoder; the head's is learning_rate. Both follow one schedule."""

    frozen_stages: int = 0
    """Number of the encoder's first stages that keep their weights; the stem is one. They hold most of the
    activations, so this saves memory and time."""

    chunk_snippets: int = 4
    """Snippets that go through the encoder at once. Memory follows this, not the length of a video; the gradient
    does not depend on it."""

    gradient_share: float = 1.0
    """Share of the snippets of a step, drawn at random, whose gradient reaches the encoder, above 0 to 1. It is
    scaled so that its mean is the whole gradient. 0.3 takes half the time."""

    random_crop: bool = True
    """Show each window through a crop at a random place, the same for all its frames. If off, the center, as in
    `extract`."""

    flip: bool = True
    """Mirror half of the windows, at random. Turn it off where left and right tell classes apart."""

    training_precision: Literal["auto", "fp32", "bf16"] = "auto"
    """Arithmetic of the encoder in training; auto uses bf16 on a GPU. `localize` and `extract` choose
    theirs afterwards."""

    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """Arithmetic of the trained encoder in `localize`, as for `extract`."""

    def __post_init__(self) -> None:
        for name, least in (("chunk_snippets", 1), ("frozen_stages", 0), ("size", 0)):
            if getattr(self, name) < least:
                raise PipelineError(f"{name} must be >= {least}, got {getattr(self, name)}")
        if 0 < self.size < 16:
            raise PipelineError(f"size must be >= 16 pixels, or 0 for that of the weights, got {self.size}")
        if not 0 <= self.encoder_learning_rate < float("inf"):
            raise PipelineError(f"encoder_learning_rate must be >= 0, got {self.encoder_learning_rate}")
        if not 0 < self.gradient_share <= 1:
            raise PipelineError(f"gradient_share must be > 0 and <= 1, got {self.gradient_share}")
        self.extraction()

    def extraction(self, *, weights: str = "", seed: int = 0, device: str = "auto") -> ExtractConfig:
        """Return the settings of `extract` for the same snippets.

        Args:
            weights: other ones than those to start from.
        """
        return ExtractConfig(
            encoder=self.encoder,
            weights=weights or self.weights,
            pool=self.pool,
            seed=seed,
            fps=self.fps,
            window_frames=self.window_frames,
            stride_frames=self.stride_frames,
            stride_seconds=self.stride_seconds,
            precision=self.precision,
            device=device,
        )

"""What an encoder expects of its input: the preprocessing that its weights were trained with."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from encoders.errors import EncoderError

LAYOUTS = ("clip", "frames")
CHANNELS = {"rgb": 3, "flow": 2}
INTERPOLATIONS = ("bilinear", "bicubic", "lanczos")
MOST = 1e6  # of each number of a spec; files that carry a spec may say anything


@dataclass(frozen=True, kw_only=True)
class EncoderSpec:
    """The fixed definition of one snippet encoder: name, feature dimension, frames, size, normalization.

    Frame k (of F = `num_frames`) of a snippet is frame floor((k + 0.5) * window_frames / F) of its window on a
    grid of `fps` frames a second: the middle frame of the k-th of F equal parts, for every encoder alike.

    Args:
        name: the encoder's name in the catalog.
        version: number of this definition; it rises when features of the same weights would change.
        feature_dim: C, the length of one feature vector.
        num_frames: F, frames fed to the network for one snippet.
        window_frames: the span of a snippet, in frames of the `fps` grid.
        fps: frames a second of that grid.
        short_side: the short side of a frame after scaling, in pixels.
        crop_size: side of the square center crop fed to the network, in pixels.
        mean: per channel, subtracted from bytes / 255.
        std: per channel, divided by after the mean is subtracted.
        layout: "clip" feeds [B, C, F, H, W] to the network; "frames" feeds every frame to a 2D network and
            averages its features over the F frames of a snippet.
        fixed_size: (height, width) in pixels that every frame is scaled to whatever its aspect ratio, for the
            networks that were trained so; None keeps the aspect ratio by `short_side`.
        modality: what the channels are: "rgb", or "flow" (motion to the right and down, as bytes around 128).
        stack: L, consecutive frames taken at each of the F places and fed to a 2D network together, as the channels
            of one picture (x1, y1, x2, y2, ... of flow); the middle one is the frame that would be taken alone.
        interpolation: how frames are scaled: "bilinear", "bicubic" or "lanczos", each widened when it shrinks a frame.
        pool: how the network's tokens become one vector, where there is a choice; None: as the network does.
        source: paper and reference implementation, one line.

    Raises:
        EncoderError: a number is not positive, or a name is not one of the accepted ones.
    """

    name: str
    version: int
    feature_dim: int
    num_frames: int
    window_frames: int
    fps: float
    short_side: int
    crop_size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    layout: str
    source: str
    fixed_size: tuple[int, int] | None = None
    modality: str = "rgb"
    stack: int = 1
    interpolation: str = "bilinear"
    pool: str | None = None

    def __post_init__(self) -> None:
        positive = ("version", "feature_dim", "num_frames", "window_frames", "fps", "short_side", "crop_size")
        for field in (*positive, "stack"):
            value = getattr(self, field)
            if not 0 < value <= MOST or (field != "fps" and not isinstance(value, int)):
                raise EncoderError(f"{field} must be a number > 0, whole but for fps, got {value!r:.40}")
        if self.layout not in LAYOUTS:
            raise EncoderError(f"layout must be one of {', '.join(LAYOUTS)}, got {self.layout!r}")
        if self.modality not in CHANNELS:
            raise EncoderError(f"modality must be one of {', '.join(CHANNELS)}, got {self.modality!r}")
        if self.interpolation not in INTERPOLATIONS:
            raise EncoderError(f"interpolation must be one of {', '.join(INTERPOLATIONS)}, got {self.interpolation!r}")
        if self.stack > 1 and self.layout != "frames":
            raise EncoderError(f"stack must be 1 with layout {self.layout}, got {self.stack}")
        if self.window_frames < self.num_frames * self.stack:
            taken = f"num_frames * stack ({self.num_frames} * {self.stack})"
            raise EncoderError(f"window_frames must be >= {taken}, got {self.window_frames}")
        numbers = all(isinstance(value, (int, float)) and abs(value) <= MOST for value in (*self.mean, *self.std))
        if len(self.mean) != self.channels or len(self.std) != self.channels or not numbers or not min(self.std) > 0:
            raise EncoderError(
                f"mean and std must be {self.channels} numbers each for {self.modality}, std > 0; "
                f"got mean={self.mean}, std={self.std}"
            )
        if self.crop_size > min(self.fixed_size or (self.short_side,)):
            raise EncoderError(f"crop_size must be <= the scaled short side, got {self.crop_size}")

    @property
    def channels(self) -> int:
        """Returns the number of channels of a frame."""
        return CHANNELS[self.modality]

    @property
    def snippet_shape(self) -> tuple[int, int, int, int]:
        """Returns (F * L, H, W, channels): the shape of one snippet of bytes."""
        return self.num_frames * self.stack, self.crop_size, self.crop_size, self.channels

    def resized(self, height: int, width: int) -> tuple[int, int]:
        """Returns (height, width) in pixels of a scaled frame: its short side is `short_side`.

        The long side keeps the aspect ratio, rounded to the nearest pixel, halves up.

        Args:
            height: of the decoded frame, in pixels.
            width: of the decoded frame, in pixels.

        Raises:
            EncoderError: a side is not positive.
        """
        if height <= 0 or width <= 0:
            raise EncoderError(f"a frame's height and width must be > 0, got {height}x{width}")
        if self.fixed_size is not None:
            return self.fixed_size
        short, long = min(height, width), max(height, width)
        # Integers throughout: floor((2 * long * short_side + short) / (2 * short)) rounds halves up exactly.
        scaled_long = (2 * long * self.short_side + short) // (2 * short)
        return (self.short_side, scaled_long) if height <= width else (scaled_long, self.short_side)

    def crop_box(self, height: int, width: int) -> tuple[int, int, int]:
        """Returns (top, left, size) in pixels of the center crop of a scaled frame, halves towards top left.

        Args:
            height: of the scaled frame, in pixels.
            width: of the scaled frame, in pixels.

        Raises:
            EncoderError: the frame is smaller than the crop.
        """
        if min(height, width) < self.crop_size:
            raise EncoderError(f"a scaled frame must be at least {self.crop_size} pixels, got {height}x{width}")
        return (height - self.crop_size) // 2, (width - self.crop_size) // 2, self.crop_size

    def as_dict(self) -> dict[str, Any]:
        """Returns the spec as JSON-ready values (tuples as lists), for provenance and comparison.

        Fields that came later are left out at their defaults, as in the features that were made before them.
        """
        values = {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}
        for later, default in (("stack", 1), ("interpolation", "bilinear"), ("pool", None)):
            if values[later] == default:
                del values[later]
        return values

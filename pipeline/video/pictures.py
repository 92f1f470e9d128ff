"""Turn a decoded picture into the encoder's input: scaled once, mirrored, rotated, cropped, RGB."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from av.video.reformatter import Interpolation, VideoReformatter
from numpy.typing import NDArray

from pipeline.video.errors import VideoError
from pipeline.video.metadata import VideoInfo

# Decord's filter graph is bilinear, so both backends scale alike. When swscale shrinks a picture, it widens the filter
# to the scale, so no pixel is skipped.
INTERPOLATIONS = {
    "bilinear": Interpolation.BILINEAR,
    "bicubic": Interpolation.BICUBIC,
    "lanczos": Interpolation.LANCZOS,
}

_MAX_SCALED_PIXELS = 8192 * 8192


class Framing(Protocol):
    """What decoding needs to know about an encoder; `encoders.spec.EncoderSpec` satisfies it."""

    @property
    def crop_size(self) -> int: ...

    @property
    def interpolation(self) -> str: ...

    def resized(self, height: int, width: int) -> tuple[int, int]: ...

    def crop_box(self, height: int, width: int) -> tuple[int, int, int]: ...


@dataclass(frozen=True)
class Geometry:
    """How the pictures of one video are scaled and cropped, in pixels of the upright picture.

    Args:
        height, width: size after scaling.
        top, left, size: the square that is kept.
        rotation, mirrored: as in VideoInfo.
        interpolation: a name in `INTERPOLATIONS`.
    """

    height: int
    width: int
    top: int
    left: int
    size: int
    rotation: int
    mirrored: bool
    interpolation: str = "bilinear"

    @classmethod
    def of(cls, info: VideoInfo, spec: Framing) -> Geometry:
        """Return the geometry of one video.

        Raises:
            VideoError: too_large, if scaling would blow up a very long and thin picture.
        """
        height, width = spec.resized(*info.display_size)
        if height * width > _MAX_SCALED_PIXELS:
            raise VideoError("too_large", f"{info.width}x{info.height} pixels become {width}x{height} after scaling")
        return cls(height, width, *spec.crop_box(height, width), info.rotation, info.mirrored, spec.interpolation)

    def crop(self, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return the kept square of an upright scaled picture [H, W, 3], as a view."""
        return picture[self.top : self.top + self.size, self.left : self.left + self.size]


class Scaler:
    """Turns PyAV frames into pictures. Keep one scaler for a whole video: to build one costs more than to use it.

    It follows the range (limited, full) and the matrix (BT.601, BT.709, …) that a frame names; a frame that names no
    matrix is read as BT.601, as in FFmpeg and decord.
    """

    def __init__(self, geometry: Geometry) -> None:
        self._geometry = geometry
        self._reformatter = VideoReformatter()

    def picture(self, frame: Any) -> NDArray[np.uint8]:
        """Return the kept square of `frame`, uint8 [size, size, 3], RGB, upright; a view that keeps its base alive."""
        g = self._geometry
        sideways = g.rotation in (90, 270)
        width, height = (g.height, g.width) if sideways else (g.width, g.height)
        how = INTERPOLATIONS[g.interpolation]
        scaled = self._reformatter.reformat(
            frame, width=width, height=height, format="rgb24", interpolation=how, threads=1
        )
        plane = scaled.planes[0]
        lines = np.frombuffer(memoryview(plane), dtype=np.uint8).reshape(-1, plane.line_size)[:height, : width * 3]
        picture = lines.reshape(height, width, 3)
        if g.mirrored:
            picture = picture[:, ::-1]
        return g.crop(np.rot90(picture, g.rotation // 90) if g.rotation else picture)

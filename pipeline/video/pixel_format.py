"""How a frame or a codec stores its pixels: bits and colors."""

from __future__ import annotations

from typing import Any

# Values of FFmpeg's AVColorRange and AVColorSpace, which PyAV passes on as numbers.
_COLOR_RANGES = {1: "limited", 2: "full"}
_COLOR_MATRICES = {
    0: "rgb", 1: "bt709", 4: "fcc", 5: "bt601", 6: "bt601", 7: "smpte240m", 8: "ycgco", 9: "bt2020", 10: "bt2020",
}  # fmt: skip


def bits_of(picture: Any) -> int:
    """Return the bits of one component of a frame or codec context; 0 if unknown."""
    return max((c.bits for c in picture.format.components), default=8) if picture.format else 0


def color_range_of(picture: Any) -> str:
    return _COLOR_RANGES.get(int(picture.color_range), "unspecified")


def color_matrix_of(picture: Any) -> str:
    return _COLOR_MATRICES.get(int(picture.colorspace), "unspecified")

"""The rotation and mirroring that a file requests from its players."""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Orientation:
    """What a player does to a picture before it shows it.

    Args:
        rotation: degrees counter-clockwise: 0, 90, 180 or 270.
        mirrored: whether left and right are swapped before the rotation.
        upright: whether the display matrix is missing or the identity.
        note: what the user should know; may be empty.
    """

    rotation: int = 0
    mirrored: bool = False
    upright: bool = True
    note: str = ""


def orientation_of(frame: Any) -> Orientation:
    """Return what the display matrix of a decoded frame requests, to the nearest right angle; ignore scaling.

    The matrix maps a stored point (p, q) to (a p + c q, b p + d q), y downwards (ISO/IEC 14496-12, 8.3.2).
    """
    data = frame.side_data.get("DISPLAYMATRIX")
    if data is None:
        return Orientation()
    a, b, _, c, d, *_ = struct.unpack("=9i", bytes(data)[:36])
    one = 1 << 16
    if (a, b, c, d) == (one, 0, 0, one):
        return Orientation()
    area = a * d - b * c
    if area == 0:
        return Orientation(upright=False, note="a display matrix that shows nothing is not applied")
    mirrored = area < 0
    if mirrored:
        a, b = -a, -b
    angle = -math.degrees(math.atan2(b / math.hypot(b, d), a / math.hypot(a, c)))
    degrees = int(angle)  # rounded as in FFmpeg's wrappers
    rotation = round(degrees / 90) * 90 % 360
    note = f"rotation of {degrees} degrees rounded to {rotation}" if degrees % 90 else ""
    return Orientation(rotation, mirrored, upright=False, note=note)

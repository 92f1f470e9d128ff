"""How a file asks its players to turn and mirror its pictures."""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Orientation:
    """What is to be done with a picture before it is shown.

    Args:
        rotation: degrees counter-clockwise to turn it by: 0, 90, 180 or 270.
        mirrored: whether left and right are swapped before that.
        upright: whether the file asks for nothing at all.
        note: what the user should know; may be empty.
    """

    rotation: int = 0
    mirrored: bool = False
    upright: bool = True
    note: str = ""


def orientation_of(frame: Any) -> Orientation:
    """What the display matrix of a decoded frame asks for, to the nearest right angle; scaling is left out.

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
    degrees = int(angle)  # as FFmpeg's wrappers give it
    rotation = round(degrees / 90) * 90 % 360
    note = f"rotation of {degrees} degrees rounded to {rotation}" if degrees % 90 else ""
    return Orientation(rotation, mirrored, upright=False, note=note)

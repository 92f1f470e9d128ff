"""Writes interlaced H.264 whose two fields of a picture are coded apart: 32x32 pixels, 25 pictures a second."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from tests.videos import picture_of

_NEW = b"\0\0\0\1\x09\x10"  # the delimiter before each field


def field_pair(index: int) -> tuple[bytes, bytes]:
    """The two fields of :func:`tests.videos.picture_of`, with all that a decoder must know before the first."""
    luma = picture_of(index, 32, 32)[:, :, 0]
    return (_parameters() if index == 0 else b"") + _field(index, 0, luma[::2]), _field(index, 1, luma[1::2])


def write_fields(path: Path, pictures: int, *, timed: str) -> Path:
    """A file of field pairs.

    Args:
        timed: "fields": each field has a packet and a time; "first": only the first of two has a time (in TS);
            "pictures": both are one packet.
    """
    raw = path.with_suffix(".h264")
    raw.write_bytes(b"".join(_NEW + one + _NEW + other for one, other in map(field_pair, range(pictures))))
    if path == raw:
        return path
    with av.open(str(raw), format="h264") as template, av.open(str(path), "w") as container:
        stream = container.add_stream_from_template(template.streams.video[0])
        stream.time_base = Fraction(1, 50)
        for index in range(pictures):
            one, other = field_pair(index)
            halves = [(_NEW + one, 0), (_NEW + other, 1)]
            if timed != "fields":
                halves = [(_NEW + one + (_NEW if timed == "first" else b"") + other, 0)]
            for data, late in halves:
                packet = av.Packet(data)
                packet.pts = packet.dts = 2 * index + late
                packet.time_base, packet.stream, packet.is_keyframe = Fraction(1, 50), stream, index == 0
                container.mux(packet)
    return path


def _golomb(value: int) -> str:
    bits = f"{value + 1:b}"
    return "0" * (len(bits) - 1) + bits


def _unit(kind: int, bits: str, payload: bytes = b"") -> bytes:
    """A NAL unit, which ends with a one and zeros, with the escapes that keep start codes out of it."""
    bits += "" if payload else "1"
    bits += "0" * (-len(bits) % 8)
    data = int(bits, 2).to_bytes(len(bits) // 8, "big") + payload
    escaped = bytearray()
    for byte in data:
        if escaped[-2:] == b"\0\0" and byte <= 3:
            escaped.append(3)
        escaped.append(byte)
    return b"\0\0\0\1" + bytes([kind]) + bytes(escaped)


def _parameters() -> bytes:
    timing = "1" + f"{1:032b}{50:032b}" + "1"
    sequence = f"{77:08b}{0:08b}{30:08b}" + "".join(map(_golomb, (0, 0, 2, 1))) + "0" + _golomb(1) + _golomb(0)
    sequence += "0" + "0" + "1" + "0" + "1" + "0000" + timing + "0000"  # fields are allowed; what can be shown and when
    picture = _golomb(0) * 2 + "00" + _golomb(0) * 3 + "000" + _golomb(0) * 3 + "100"
    return _unit(0x67, sequence) + _unit(0x68, picture)


def _field(index: int, bottom: int, luma: np.ndarray) -> bytes:
    first = index == 0 and not bottom
    bits = _golomb(0) + _golomb(7) + _golomb(0) + f"{index % 16:04b}" + f"1{bottom}"
    bits += _golomb(0) + "00" if first else "0"
    bits += _golomb(0) + _golomb(1)
    payload = b""
    for left in (0, 16):  # two macroblocks of plain samples
        bits += _golomb(25) if not payload else ""
        block = luma[:, left : left + 16].astype(np.uint8).tobytes() + bytes([128]) * 128
        payload += (_plain_type() if payload else b"") + block
    return _unit(0x65 if first else 0x61, bits, payload + b"\x80")


def _plain_type() -> bytes:
    """The type of a macroblock of plain samples that begins at a whole byte."""
    bits = _golomb(25)
    return int(bits + "0" * (-len(bits) % 8), 2).to_bytes(2, "big")

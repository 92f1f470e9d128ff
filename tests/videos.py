"""Makes small videos whose every picture says which frame it is, in a way that survives compression and scaling."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

# A picture holds, in its central square, 4x4 black and white cells: twelve bits of the frame's index, then a row that
# is not its own mirror image or rotation, so that a picture that is not upright is seen.
_CELLS = 4
_UPRIGHT = (1, 0, 1, 1)


def picture_of(index: int, height: int, width: int) -> np.ndarray:
    """The picture of frame ``index``, uint8 [height, width, 3]."""
    assert 0 <= index < 1 << 12
    bits = [index >> bit & 1 for bit in range(12)] + list(_UPRIGHT)
    side = min(height, width)
    cell = -(-side // _CELLS)
    square = np.kron(np.array(bits, np.uint8).reshape(_CELLS, _CELLS) * 235, np.ones((cell, cell), np.uint8))
    picture = np.full((height, width), 110, np.uint8)
    top, left = (height - side) // 2, (width - side) // 2
    picture[top : top + side, left : left + side] = square[:side, :side]
    return np.repeat(picture[:, :, None], 3, axis=2)


def index_of(picture: np.ndarray) -> int:
    """The index that a square cut from the center of :func:`picture_of` shows; fails when it is not upright."""
    side = picture.shape[0]
    assert picture.shape == (side, side, 3)
    centers = [(2 * i + 1) * side // (2 * _CELLS) for i in range(_CELLS)]
    reach = max(1, side // 16)
    bits = [int(picture[y - reach : y + reach, x - reach : x + reach].mean() > 117) for y in centers for x in centers]
    assert tuple(bits[12:]) == _UPRIGHT, f"the picture is not upright: {bits[12:]}"
    return sum(bit << position for position, bit in enumerate(bits[:12]))


def write_video(
    path: Path,
    pts: Sequence[int],
    time_base: Fraction,
    *,
    size: tuple[int, int] = (64, 64),
    codec: str = "libx264",
    pixel_format: str = "yuv420p",
    options: dict[str, str] | None = None,
    b_frames: int = 2,
    draw: Callable[[int, int, int], np.ndarray] = picture_of,
    source_format: str = "rgb24",
    context: dict[str, Any] | None = None,
) -> Path:
    """A video whose frame i is ``draw(i, height, width)``, shown from ``pts[i] * time_base`` seconds on.

    Args:
        size: (height, width) in pixels.
        options: of the encoder; context: attributes of its context.
        b_frames: frames between two reference frames (for codecs that have them).
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    height, width = size
    # One frame a tick is the rate that the encoder is told; what is shown when is said by the timestamps alone.
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=1 / time_base)
        stream.height, stream.width, stream.pix_fmt = height, width, pixel_format
        stream.codec_context.time_base = time_base
        stream.codec_context.gop_size = 12
        defaults = {"qp": "12", "bf": str(b_frames)} if codec == "libx264" else {}
        stream.options = {**defaults, **(options or {})}
        if codec.startswith("mpeg"):
            stream.codec_context.max_b_frames = b_frames
            stream.codec_context.bit_rate = 4_000_000
        for name, value in (context or {}).items():
            setattr(stream.codec_context, name, value)
        for index, ticks in enumerate(pts):
            frame = av.VideoFrame.from_ndarray(draw(index, height, width), format=source_format)
            frame.pts, frame.time_base = ticks, time_base
            for name in ("color_range", "colorspace"):
                if context and name in context:
                    setattr(frame, name, context[name])
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def constant(path: Path, frames: int, fps: Fraction | int, **settings: Any) -> Path:
    """A video of ``frames`` frames at ``fps`` frames a second."""
    return write_video(path, range(frames), 1 / Fraction(fps), **settings)


def rotate_track(path: Path, clockwise: int) -> None:
    """Makes an MP4 file ask its players to turn its picture by ``clockwise`` degrees."""
    place_track(path, *{0: (1, 0, 0, 1), 90: (0, 1, -1, 0), 180: (-1, 0, 0, -1), 270: (0, -1, 1, 0)}[clockwise])


def place_track(path: Path, a: float, b: float, c: float, d: float) -> None:
    """Gives an MP4 file a display matrix (ISO/IEC 14496-12, 8.3.2).

    The matrix maps a stored point (p, q) to (a p + c q, b p + d q), y downwards.
    """
    data = bytearray(path.read_bytes())
    one = 1 << 16
    a, b, c, d = (round(value * one) for value in (a, b, c, d))
    struct.pack_into(">9i", data, data.index(b"tkhd") + 4 + 40, a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(data)


def remux(source: Path, path: Path) -> Path:
    """Puts the video stream of a file into another container, with its display matrix."""
    with av.open(str(source)) as container, av.open(str(path), "w") as out:
        stream = out.add_stream_from_template(container.streams.video[0])
        for packet in container.demux(video=0):
            if packet.size:
                packet.stream = stream
                out.mux(packet)
    return path


def edit_avi(path: Path, edit: Callable[[int, bytes], bytes]) -> Path:
    """Replaces chunk k of an AVI that holds one stream by ``edit(k, chunk)``."""
    data = path.read_bytes()
    at = data.index(b"movi")
    head, end, place = data[: at - 8], at - 4 + struct.unpack_from("<I", data, at - 4)[0], at + 4
    movi, index, number = b"movi", b"", 0
    while place < end:
        name, size = struct.unpack_from("<4sI", data, place)
        chunk = edit(number, data[place + 8 : place + 8 + size])
        index += name + struct.pack("<III", 0x10 if number == 0 else 0, len(movi), len(chunk))
        movi += name + struct.pack("<I", len(chunk)) + chunk + b"\0" * (len(chunk) % 2)
        place, number = place + 8 + size + size % 2, number + 1
    body = head + b"LIST" + struct.pack("<I", len(movi)) + movi + b"idx1" + struct.pack("<I", len(index)) + index
    path.write_bytes(body[:4] + struct.pack("<I", len(body) - 8) + body[8:])
    return path


def not_coded(tick: int) -> bytes:
    """An MPEG-4 picture that is not coded, in a stream of 25 frames a second: the one before stays."""
    bits = f"0101{tick % 25:05b}10"  # predicted, no whole second, marker, time, marker, not coded
    bits += "0" + "1" * (-(len(bits) + 1) % 8)
    return b"\0\0\1\xb6" + int(bits, 2).to_bytes(len(bits) // 8, "big")


def flip_bits(path: Path, offsets: Sequence[int]) -> None:
    """Inverts the lowest bit of some bytes of a file."""
    data = bytearray(path.read_bytes())
    for offset in offsets:
        data[offset] ^= 1
    path.write_bytes(data)

"""Count files that were put together byte by byte, in containers of which FFmpeg and players read the first alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

_ASF_HEADER = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
_FLV_HEADER = 13  # bytes, with the size of no tag before


def boxes(path: Path) -> Iterator[bytes]:
    """Yield the names of the outermost boxes of an MP4 or QuickTime file (ISO/IEC 14496-12, 4.2)."""
    with path.open("rb") as file:
        at, size = 0, path.stat().st_size
        while at + 8 <= size:
            head = _read(file, at, 16)
            yield head[4:8]
            length = int.from_bytes(head[:4], "big")
            length = int.from_bytes(head[8:16], "big") if length == 1 else length
            if length < 8:
                return
            at += length


def num_joined(path: Path, container_format: str) -> int:
    """Return how many files of its kind a file holds one after the other; 1 for a container that is not known here."""
    if "mp4" in container_format:
        return max(1, sum(name == b"moov" for name in boxes(path)))
    if container_format == "asf":
        return max(1, sum(name == _ASF_HEADER for name in _asf_objects(path)))
    return _num_joined_flv(path) if container_format == "flv" else 1


def _asf_objects(path: Path) -> Iterator[bytes]:
    """Yield the names of the outermost objects (ASF Specification, 2.1)."""
    with path.open("rb") as file:
        at, size = 0, path.stat().st_size
        while at + 24 <= size:
            head = _read(file, at, 24)
            yield head[:16]
            length = int.from_bytes(head[16:], "little")
            if length < 24:
                return
            at += length


def _num_joined_flv(path: Path) -> int:
    """Count headers that stand in the place of a tag; a tag is followed by its size (FLV Specification 10.1, E.3)."""
    count = 0
    with path.open("rb") as file:
        at, size = 0, path.stat().st_size
        while at + 11 <= size:
            head = _read(file, at, 11)
            is_header = head[:4] == b"FLV\1"
            if not is_header and count == 0:
                break
            count += is_header
            at += _FLV_HEADER if is_header else 11 + int.from_bytes(head[1:4], "big") + 4
    return max(1, count)


def _read(file: BinaryIO, at: int, count: int) -> bytes:
    file.seek(at)
    return file.read(count)

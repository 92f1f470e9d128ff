"""Read from the bytes of a packet what it shows: a picture, the second field of one, or nothing new."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, Protocol

Shows = Literal["picture", "field", "nothing"]  # "field": the other half of the picture of the packet before

_START = b"\0\0\1"
_HIGH_PROFILES = frozenset((44, 83, 86, 100, 110, 118, 122, 128, 134, 135, 138, 139, 244))
_LONGEST_HEADER = 64  # bytes of a slice that are read


class Reader(Protocol):
    """Reads the packets of one stream in stored order."""

    packed: bool  # whether some packet held several pictures, so that its time is not the time of each

    def shows(self, packet: Any) -> Shows: ...


def reader_of(codec: str, extradata: bytes) -> Reader:
    """Return the reader for a codec, given FFmpeg's name of it."""
    if codec == "h264":
        return _H264(extradata)
    if codec == "mpeg4":
        return _Mpeg4(extradata)
    return _Vp8() if codec == "vp8" else _Plain()


class _Plain:
    packed = False

    def shows(self, packet: Any) -> Shows:
        return "picture"


class _Vp8:
    """Frames that are stored for reference only (RFC 6386, 9.1)."""

    packed = False

    def shows(self, packet: Any) -> Shows:
        return "picture" if memoryview(packet)[0] & 0x10 else "nothing"


class _Bits:
    """Reads a header bit by bit.

    Raises:
        ValueError: no bits are left.
    """

    def __init__(self, data: bytes) -> None:
        self._bits = int.from_bytes(data, "big")
        self._left = 8 * len(data)

    def take(self, count: int) -> int:
        self._left -= count
        if self._left < 0:
            raise ValueError("the header ends early")
        return (self._bits >> self._left) & ((1 << count) - 1)

    def golomb(self) -> int:
        """Return an unsigned Exp-Golomb number; signed ones have the same length."""
        zeros = 0
        while not self.take(1):
            zeros += 1
        return (1 << zeros) - 1 + self.take(zeros)


class _H264:
    """The two fields of a picture in separate packets (ITU-T H.264, 7.3.2.1 and 7.3.3)."""

    packed = False

    def __init__(self, extradata: bytes) -> None:
        self._length_bytes = (extradata[4] & 3) + 1 if len(extradata) > 6 and extradata[0] == 1 else 0
        self._sequences: dict[int, tuple[int, bool, bool]] = {}  # bits of frame_num, three planes, fields possible
        self._pictures: dict[int, int] = {}  # picture parameter set: its sequence parameter set
        self._first: tuple[int, int] | None = None  # the field that waits for the other: frame_num, bottom
        for unit in _parameter_sets(extradata) if self._length_bytes else _units(extradata):
            if unit:
                self._note(unit)

    def shows(self, packet: Any) -> Shows:
        fields_possible = any(possible for *_, possible in self._sequences.values())
        if not fields_possible and (self._length_bytes or not packet.is_keyframe):
            return "picture"
        data = bytes(packet)
        units = _units_by_length(data, self._length_bytes) if self._length_bytes else _units(data)
        found: list[tuple[int, int] | None] = []
        for unit in units:
            if unit and unit[0] & 31 in (7, 8):
                self._note(unit)
            elif unit and unit[0] & 31 in (1, 2, 5):
                field = self._field(unit)
                found += [field] if [field] != found[-1:] else []
        waiting, self._first = self._first, found[0] if len(found) == 1 else None
        if waiting is None or self._first is None or self._first != (waiting[0], 1 - waiting[1]):
            return "picture"
        self._first = None
        return "field"

    def _note(self, unit: bytes) -> None:
        try:
            bits = _Bits(_unescaped(unit[1:]))
            if unit[0] & 31 == 7:
                number, facts = _sequence(bits)
                self._sequences[number] = facts
            elif unit[0] & 31 == 8:
                number = bits.golomb()
                self._pictures[number] = bits.golomb()
        except ValueError:
            return  # the decoder reports damage

    def _field(self, unit: bytes) -> tuple[int, int] | None:
        """Return frame_num and whether this is the bottom field; None for a whole frame or if unknown."""
        try:
            bits = _Bits(_unescaped(unit[1:_LONGEST_HEADER]))
            bits.golomb()  # first_mb_in_slice
            bits.golomb()  # slice_type
            number_bits, three_planes, fields_possible = self._sequences[self._pictures[bits.golomb()]]
            bits.take(2 * three_planes)
            number = bits.take(number_bits)
            return (number, bits.take(1)) if fields_possible and bits.take(1) else None
        except (ValueError, KeyError):
            return None


def _sequence(bits: _Bits) -> tuple[int, tuple[int, bool, bool]]:
    """Return the number of a sequence parameter set, and the values that `_H264` needs."""
    profile = bits.take(8)
    bits.take(16)
    number = bits.golomb()
    three_planes = False
    if profile in _HIGH_PROFILES:
        chroma = bits.golomb()
        three_planes = chroma == 3 and bool(bits.take(1))
        bits.golomb(), bits.golomb(), bits.take(1)
        if bits.take(1):
            for place in range(12 if chroma == 3 else 8):
                if bits.take(1):
                    _skip_scaling_list(bits, 16 if place < 6 else 64)
    number_bits = bits.golomb() + 4
    order = bits.golomb()
    if order == 0:
        bits.golomb()
    elif order == 1:
        bits.take(1), bits.golomb(), bits.golomb()
        for _ in range(min(bits.golomb(), 255)):
            bits.golomb()
    bits.golomb(), bits.take(1), bits.golomb(), bits.golomb()
    return number, (number_bits, three_planes, not bits.take(1))


def _skip_scaling_list(bits: _Bits, size: int) -> None:
    last = following = 8
    for _ in range(size):
        if following:
            coded = bits.golomb()
            following = (last + (coded + 1) // 2 * (1 if coded % 2 else -1)) % 256
        last = following or last


def _parameter_sets(extradata: bytes) -> Iterator[bytes]:
    """Yield the units of an avcC record (ISO/IEC 14496-15, 5.3.3.1)."""
    at = 5
    for mask in (31, 255):
        if at >= len(extradata):
            return
        count, at = extradata[at] & mask, at + 1
        for _ in range(count):
            size = int.from_bytes(extradata[at : at + 2], "big")
            yield extradata[at + 2 : at + 2 + size]
            at += 2 + size


def _units_by_length(data: bytes, length_bytes: int) -> Iterator[bytes]:
    at = 0
    while at + length_bytes < len(data):
        size = int.from_bytes(data[at : at + length_bytes], "big")
        at += length_bytes
        yield data[at : at + size]
        at += size


def _units(data: bytes) -> Iterator[bytes]:
    """Yield the bytes after each start code, up to the next one."""
    at = data.find(_START)
    while at >= 0:
        end = data.find(_START, at + 3)
        yield data[at + 3 : end if end >= 0 else len(data)]
        at = end


def _unescaped(data: bytes) -> bytes:
    return data.replace(b"\0\0\3", b"\0\0")


class _Mpeg4:
    """Pictures that are not coded: the previous one stays (ISO/IEC 14496-2, 6.2.5).

    In a packed stream a packet holds a picture and the one that is shown before it; a packet without a coded picture
    follows in place of the latter.
    """

    def __init__(self, extradata: bytes) -> None:
        self._time_bits = 0
        self._owed = 0  # pictures that earlier packets stored as a second one
        self.packed = False
        self._coded(extradata)

    def shows(self, packet: Any) -> Shows:
        found = self._coded(bytes(packet))
        if not found:
            return "picture"  # another kind of stream, or damage, which the decoder reports
        coded = sum(found)
        self.packed |= coded > 1
        if coded == 0 and self._owed == 0:
            return "nothing"
        self._owed = max(0, self._owed + coded - 1)
        return "picture"

    def _coded(self, data: bytes) -> list[bool]:
        """Return for each picture whether it is coded."""
        found = []
        for unit in _units(data):
            if unit and 0x20 <= unit[0] <= 0x2F:
                self._time_bits = _time_bits(unit[1:]) or self._time_bits
            elif unit[:1] == b"\xb6":
                found.append(self._is_coded(unit[1:_LONGEST_HEADER]))
        return found

    def _is_coded(self, header: bytes) -> bool:
        try:
            bits = _Bits(header)
            bits.take(2)
            while bits.take(1):  # whole seconds
                pass
            bits.take(1 + self._time_bits + 1)
            return not self._time_bits or bool(bits.take(1))
        except ValueError:
            return True


def _time_bits(layer: bytes) -> int:
    """Return the bits of a picture's time, from the header of a video object layer; 0 if it does not say."""
    try:
        bits = _Bits(layer[:_LONGEST_HEADER])
        bits.take(9)
        version = 1
        if bits.take(1):
            version, _ = bits.take(4), bits.take(3)
        if bits.take(4) == 15:
            bits.take(16)
        if bits.take(1):
            bits.take(3)
            if bits.take(1):
                bits.take(79)
        if bits.take(2) == 3 and version != 1:
            bits.take(4)
        bits.take(1)
        return max(1, (bits.take(16) - 1).bit_length())
    except ValueError:
        return 0

"""The clock of a stream: continue it where it restarts, and fill in times that packets lack."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from heapq import heapify, heapreplace
from itertools import pairwise
from typing import Any

# Containers whose files can be concatenated byte by byte.
_FORMATS = frozenset(("mpegts", "mpeg", "flv"))
_OWN_HEADERS = frozenset(("matroska,webm", "ogg"))  # these too; each part then has its own header
_BACK = 1  # seconds: a key frame this far before a frame that is stored before it begins a new part of such a file
_SLACK = Fraction(1, 10)  # seconds that a clock may step back without a restart
_AWAY = 10  # seconds: if the packets before and after a leap are this near to each other, the time between is wrong
_LONG = 60  # seconds: a clock that leaps this far may belong to another file
_WRAP = 1 << 32  # ticks; FFmpeg adds 2^33 to times before the first


class Clock:
    """Continues the clock of a stream where it restarts. Give it all packets of the stream in stored order.

    It removes the time of a single packet that is far from its neighbors.
    """

    def __init__(self, container_format: str, time_base: Fraction) -> None:
        self._applies = container_format in _FORMATS
        self._has_own_headers = container_format in _OWN_HEADERS
        self._back = round(_BACK / time_base)
        self._slack, self._away, self._long = (round(seconds / time_base) for seconds in (_SLACK, _AWAY, _LONG))
        self._held: Any = None  # the packet that waits for the next one
        self._raw: int | None = None  # stored time of the previous packet
        self._offset = 0
        self._end = 0  # of all earlier packets, in ticks of the continued clock
        self._begin: int | None = None  # of this part
        self._waits = False  # for a key frame, after a restart
        self.restarts = 0
        self.leaps = 0  # forward

    def take(self, packet: Any) -> list[Any]:
        """Return the packets that are ready, with their times set; drop those before the first key frame of a part."""
        if self._has_own_headers:
            self._continue_at_key_frames(packet)
        if not self._applies:
            return [packet]
        if packet.size == 0:
            return [*self.rest(), packet]
        held, self._held = self._held, packet
        return [held] if held is not None and self._is_shown(held, _raw(packet)) else []

    def rest(self) -> list[Any]:
        """Return the packet that still waits, at the end."""
        held, self._held = self._held, None
        return [held] if held is not None and self._is_shown(held, None) else []

    def _is_shown(self, packet: Any, following: int | None) -> bool:
        raw = _raw(packet)
        if raw is not None and self._is_wrong(raw, following):
            packet.pts = packet.dts = raw = None
        if raw is None:
            return not self._waits
        step = raw - self._raw if self._raw is not None else 0
        self._raw = raw
        self.leaps += self._long < step <= _WRAP
        if step < -self._slack or step > _WRAP:
            self.restarts += 1
            self._waits = True
        shown = packet.pts if packet.pts is not None else packet.dts
        if self._waits:
            if not packet.is_keyframe:
                return False
            self._offset, self._begin, self._waits = self._end - shown, self._end, False
        self._shift(packet)
        self._end = max(self._end, shown + self._offset + max(1, packet.duration or 0))
        return self._begin is None or shown + self._offset >= self._begin

    def _continue_at_key_frames(self, packet: Any) -> None:
        """Shift the times of a part that begins again. Key frames alone tell: other frames are stored out of order."""
        shown = packet.pts if packet.pts is not None else packet.dts
        if shown is None:
            return
        if packet.is_keyframe and shown + self._offset < self._end - self._back:
            self.restarts += 1
            self._offset = self._end - shown
        self._shift(packet)
        self._end = max(self._end, shown + self._offset + max(1, packet.duration or 0))

    def _shift(self, packet: Any) -> None:
        if self._offset:
            packet.pts = None if packet.pts is None else packet.pts + self._offset
            packet.dts = None if packet.dts is None else packet.dts + self._offset

    def _is_wrong(self, raw: int, following: int | None) -> bool:
        if self._raw is None or following is None or -self._slack <= raw - self._raw <= self._away:
            return False
        back = abs(following - self._raw)
        return back <= self._away and back < abs(following - raw)


def _raw(packet: Any) -> int | None:
    time: int | None = packet.dts if packet.dts is not None else packet.pts
    return time


def fill_in(known: Sequence[int], *, before: int, later: int, step: int) -> list[int]:
    """Complete a list of times of which some are unknown.

    Args:
        known: known times, ascending, in ticks.
        before: number of unknown times before the first known one.
        later: number of unknown times after the first known one.
        step: ticks from one frame to the next, > 0.

    Returns:
        The known times; `before` times in front of them, a step apart; as many of the later ones as fit, evenly in the
        gaps between known times; and the rest at the end, a step apart.
    """
    if not known:
        return [step * number for number in range(before + later)]
    room = [(max(0, round((end - start) / step) - 1), start, end) for start, end in pairwise(known)]
    # A heap with the widest piece first: minus its width, number of frames in its gap, most that fit, the gap.
    pieces = [(start - end, 0, fits, start, end) for fits, start, end in room if fits]
    heapify(pieces)
    left = later
    while left and pieces and pieces[0][1] < pieces[0][2]:
        _, count, fits, start, end = pieces[0]
        full = count + 1 == fits
        heapreplace(pieces, (0 if full else (start - end) // (count + 2), count + 1, fits, start, end))
        left -= 1
    filled = [start + (end - start) * k // (n + 1) for _, n, _, start, end in pieces for k in range(1, n + 1)]
    first = [known[0] - step * (before - number) for number in range(before)]
    last = [known[-1] + step * (number + 1) for number in range(left)]
    return [*first, *sorted([*known, *filled]), *last]

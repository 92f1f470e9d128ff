"""The clock of a stream: followed where it restarts, and filled in where packets carry no time."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from heapq import heapify, heapreplace
from itertools import pairwise
from typing import Any

# Containers whose files can be put together end to end.
_FORMATS = frozenset(("mpegts", "mpeg", "flv"))
_SLACK = Fraction(1, 10)  # seconds that clocks may step back without a restart
_AWAY = 10  # seconds: where the packet after one that leaps is this near to the one before it, that one's time is wrong
_LONG = 60  # seconds: a clock that leaps this far may be that of another file
_WRAP = 1 << 32  # ticks; FFmpeg adds 2^33 to times before the first


class Clock:
    """Goes on where the clock of a stream restarts; told of all its packets in the order in which they are stored.

    A single packet whose time is far from those around it gets none.
    """

    def __init__(self, container_format: str, time_base: Fraction) -> None:
        self._applies = container_format in _FORMATS
        self._slack, self._away, self._long = (round(seconds / time_base) for seconds in (_SLACK, _AWAY, _LONG))
        self._held: Any = None  # the packet that waits for the one after it
        self._raw: int | None = None  # as stored, of the packet before
        self._offset = 0
        self._end = 0  # of all before, in ticks of the clock that goes on
        self._begin: int | None = None  # of this part
        self._waits = False  # for a key frame, after a restart
        self.restarts = 0
        self.leaps = 0  # forward

    def take(self, packet: Any) -> list[Any]:
        """The packets that are ready, their times set. Those that come before the first key frame of a part are not."""
        if not self._applies:
            return [packet]
        if packet.size == 0:
            return [*self.rest(), packet]
        held, self._held = self._held, packet
        return [held] if held is not None and self._is_shown(held, _raw(packet)) else []

    def rest(self) -> list[Any]:
        """The packet that still waits, at the end."""
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
        if self._offset:
            packet.pts = None if packet.pts is None else packet.pts + self._offset
            packet.dts = None if packet.dts is None else packet.dts + self._offset
        self._end = max(self._end, shown + self._offset + max(1, packet.duration or 0))
        return self._begin is None or shown + self._offset >= self._begin

    def _is_wrong(self, raw: int, following: int | None) -> bool:
        if self._raw is None or following is None or -self._slack <= raw - self._raw <= self._away:
            return False
        back = abs(following - self._raw)
        return back <= self._away and back < abs(following - raw)


def _raw(packet: Any) -> int | None:
    time: int | None = packet.dts if packet.dts is not None else packet.pts
    return time


def fill_in(known: Sequence[int], *, before: int, later: int, step: int) -> list[int]:
    """All times, of which some are known.

    Args:
        known: ascending, in ticks.
        before: how many are lacking before the first known one; later: after it.
        step: from one frame to the next, > 0.

    Returns:
        The known ones; before them others a step apart; the others evenly in the gaps between them, no more than fit,
        and the rest after them a step apart.
    """
    if not known:
        return [step * number for number in range(before + later)]
    room = [(max(0, round((end - start) / step) - 1), start, end) for start, end in pairwise(known)]
    # The widest piece first: minus its width, how many frames are put into its gap, and the gap.
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

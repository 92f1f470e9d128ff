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
_AWAY = 10  # seconds: a clock that leaves for one packet and comes back this near has not restarted
_WRAP = 1 << 32  # ticks; FFmpeg adds 2^33 to times before the first


class Clock:
    """Goes on where the clock of a stream restarts; told of all its packets in the order in which they are stored."""

    def __init__(self, container_format: str, time_base: Fraction) -> None:
        self._applies = container_format in _FORMATS
        self._slack, self._away = round(_SLACK / time_base), round(_AWAY / time_base)
        self._raw: int | None = None  # as stored, of the packet before
        self._former: tuple[int, int] | None = None  # raw time and offset before the latest restart
        self._offset = 0
        self._end = 0  # of all before, in ticks of the clock that goes on
        self._begin: int | None = None  # of this part
        self._waits = False  # for a key frame, after a restart
        self.restarts = 0

    def take(self, packet: Any) -> bool:
        """Sets the packet's times; False: it cannot be shown, since its part begins between key frames."""
        if not self._applies or packet.size == 0:
            return True
        raw = packet.dts if packet.dts is not None else packet.pts
        if raw is None:
            return not self._waits
        self._notice(raw)
        self._raw = raw
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

    def _notice(self, raw: int) -> None:
        if self._raw is None:
            return
        step = raw - self._raw
        if self._former is not None and step > self._away and 0 <= raw - self._former[0] <= self._away:
            self._offset, self._former, self._waits = self._former[1], None, False
            self.restarts -= 1
        elif step < -self._slack or step > _WRAP:
            self._former = (self._raw, self._offset)
            self._waits = True
            self.restarts += 1


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

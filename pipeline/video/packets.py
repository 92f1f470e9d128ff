"""One pass over the packets of a file: when frames are shown, without decoding them."""

from __future__ import annotations

import sys
from array import array
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import av.error

from pipeline.video.container import packets_of, words_of

_PACKETS_UNTIL_FIRST_FRAME = 300

Progress = Callable[[], None]


class Reach:
    """The span of time, in seconds, that packets cover."""

    def __init__(self) -> None:
        self.ends: dict[Fraction, tuple[int, int]] = {}  # for each time base: lowest start, highest end, in ticks

    def add(self, packet: Any) -> None:
        start = packet.pts if packet.pts is not None else packet.dts
        end = start + (packet.duration or 0)
        low, high = self.ends.get(packet.time_base, (start, end))
        self.ends[packet.time_base] = (min(low, start), max(high, end))

    @property
    def span(self) -> Fraction:
        """From the start of the first packet to the end of the last."""
        return self.end - min((low * base for base, (low, _) in self.ends.items()), default=Fraction(0))

    @property
    def end(self) -> Fraction:
        """The end of the last packet on the container's clock."""
        return max((high * base for base, (_, high) in self.ends.items()), default=Fraction(0))


class Packets:
    """What one pass over the packets of a file collects."""

    def __init__(self, *, avi: bool) -> None:
        self._avi = avi
        self.shown = array("q")
        self.decoding = array("q")  # decoding times, kept for AVI, which stores no others
        self.no_pts = 0
        self.discarded = 0
        self.entries = array("q")  # ascending; see VideoInfo
        self.first_is_key = False
        self.first_pts = 0
        self._latest = -sys.maxsize  # pts
        self.durations: tuple[int, int] = (-sys.maxsize, 0)  # of the packet shown last: (pts, duration)
        self.reach = Reach()  # of the video stream, hidden packets included
        self.reach_of_all = Reach()  # of all streams
        self.error: str | None = None

    def read(self, container: Any, stream: Any, progress: Progress) -> Any | None:
        """Reads all packets; the first frame that can be decoded, for what only a frame tells (its rotation)."""
        frame = None
        try:
            for number, packet in enumerate(packets_of(container)):
                if number % 256 == 0:
                    progress()
                if packet.size == 0 or (packet.dts is None and packet.pts is None):
                    continue
                self.reach_of_all.add(packet)
                if packet.stream_index == stream.index:
                    self.reach.add(packet)
                    self._note(packet)
                    if frame is None and len(self.shown) <= _PACKETS_UNTIL_FIRST_FRAME:
                        frame = _first_frame(packet)
        except av.error.FFmpegError as error:
            self.error = words_of(error)
        if frame is None and len(self.shown) <= _PACKETS_UNTIL_FIRST_FRAME:
            frame = _first_frame(None, stream)
        return frame

    def _note(self, packet: Any) -> None:
        if packet.is_discard:
            self.discarded += 1
            return
        pts = packet.pts if packet.pts is not None else packet.dts
        if not self.shown:
            self.first_is_key, self.first_pts = bool(packet.is_keyframe), pts
        self.no_pts += packet.pts is None
        self._note_entry(packet, pts)
        self.shown.append(pts)
        if self._avi:
            self.decoding.append(packet.dts if packet.dts is not None else pts)
        self.durations = max(self.durations, (pts, packet.duration or 0))

    def _note_entry(self, packet: Any, pts: int) -> None:
        while self.entries and self.entries[-1] > pts:  # shown before a key frame and stored after it
            self.entries.pop()
        if packet.is_keyframe and pts > self._latest:
            self.entries.append(pts)
        self._latest = max(self._latest, pts)


def _first_frame(packet: Any | None, stream: Any = None) -> Any | None:
    try:
        frames = packet.decode() if packet is not None else stream.decode(None)
    except av.error.FFmpegError:
        return None
    return frames[0] if frames else None

"""Find the times of all frames in one pass over the packets of a file, without decoding."""

from __future__ import annotations

import sys
from array import array
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import av.error
import numpy as np

from pipeline.video.clock import Clock, fill_in
from pipeline.video.coded import reader_of
from pipeline.video.container import message_of, packets_of

_PACKETS_UNTIL_FIRST_FRAME = 300
_REORDERING = frozenset(("h264", "hevc"))  # only a time tells when the frame of such a packet is shown

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

    def extend(self, end: int) -> None:
        """Extend the span to at least `end`, in ticks, in each time base."""
        self.ends = {base: (low, max(high, end)) for base, (low, high) in self.ends.items()}

    @property
    def span(self) -> Fraction:
        """From the start of the first packet to the end of the last."""
        return self.end - min((low * base for base, (low, _) in self.ends.items()), default=Fraction(0))

    @property
    def end(self) -> Fraction:
        """The end of the last packet on the container's clock."""
        return max((high * base for base, (_, high) in self.ends.items()), default=Fraction(0))


class Packets:
    """The facts about a stream that one pass over the packets of a file collects."""

    def __init__(self, container: Any, stream: Any) -> None:
        context = stream.codec_context
        self._stream = stream.index
        self._sounds = {s.index for s in container.streams.audio}
        self._reader = reader_of(context.codec.canonical_name, context.extradata or b"")
        self._avi = container.format.name == "avi"  # it stores the order of packets and no times
        self._reorders = context.codec.canonical_name in _REORDERING
        self.clock = Clock(container.format.name, Fraction(stream.time_base))
        self.shown = array("q")
        self.decoding = array("q")  # the same packets' decoding times
        self.no_pts = 0
        self.timeless = [0, 0]  # packets without a time: before the first with one, and after it
        self.fields = 0  # packets with the second field of a picture
        self.discarded = 0
        self.entries = array("q")  # ascending; see VideoInfo
        self.first_is_key = False
        self.first_pts = 0
        self.key_seen = False  # whether there is a key frame, hidden or not
        self.first_key: int | None = None  # pts of the first key frame, if it has one
        self.before_key = 0  # pictures stored before it
        self._latest = -sys.maxsize  # pts
        self.durations: tuple[int, int] = (-sys.maxsize, 0)  # of the picture shown last: (pts, duration)
        self.unchanged = 0  # packets that show nothing new
        self._stays_until = (-sys.maxsize, -sys.maxsize)  # end of the last such packet: by pts and by dts
        self.reach = Reach()  # of the video stream, with hidden packets
        self.reach_of_others = Reach()
        self.first_sound: dict[int, Fraction] = {}  # when each stream of sound begins, in seconds
        self.error: str | None = None
        self._frame: Any | None = None

    @property
    def by_order(self) -> bool:
        """Whether only its place among the others tells when a picture is shown."""
        unknown = self._reader.packed or (self._reorders and self.shown != self.decoding)
        return self.no_pts > 0 or (self._avi and unknown)

    @property
    def stays_until(self) -> int:
        """The end of the last packet that shows nothing new, on the clock of the timestamps."""
        return self._stays_until[self._avi and self.by_order]

    def read(self, container: Any, stream: Any, progress: Progress) -> Any | None:
        """Read all packets; return the first decodable frame, because only a frame tells its rotation."""
        try:
            for number, packet in enumerate(packets_of(container)):
                if number % 256 == 0:
                    progress()
                if packet.stream_index != stream.index:
                    self._note_other(packet)
                else:
                    self._take(self.clock.take(packet))
        except av.error.FFmpegError as error:
            self.error = message_of(error)
        self._take(self.clock.rest())
        if self._frame is None and len(self.shown) <= _PACKETS_UNTIL_FIRST_FRAME:
            self._frame = _first_frame(None, stream)
        return self._frame

    def _take(self, packets: list[Any]) -> None:
        for packet in packets:
            if packet.size == 0:
                continue
            self._note(packet)
            if self._frame is None and len(self.shown) <= _PACKETS_UNTIL_FIRST_FRAME:
                self._frame = _first_frame(packet)

    def timestamps(self, step: int) -> array[int]:
        """Return the times of all frames, in ticks, ascending; fill in the times of packets without one.

        Args:
            step: ticks from one frame to the next, for packets without a time.
        """
        times = self.decoding if self._avi and self.by_order else self.shown
        np.frombuffer(times, dtype=np.int64).sort()  # in place: a list of the numbers would take ten times the memory
        if any(self.timeless):
            times = array("q", fill_in(times, before=self.timeless[0], later=self.timeless[1], step=step))
        return times

    def _note_other(self, packet: Any) -> None:
        if packet.size == 0 or (packet.pts is None and packet.dts is None):
            return
        self.reach_of_others.add(packet)
        if packet.stream_index in self._sounds and not packet.is_discard:
            start = packet.pts if packet.pts is not None else packet.dts
            self.first_sound.setdefault(packet.stream_index, start * packet.time_base)

    def _note(self, packet: Any) -> None:
        shows = self._reader.shows(packet)
        pts = packet.pts if packet.pts is not None else packet.dts
        if pts is not None:
            self.reach.add(packet)
        if packet.is_keyframe and not self.key_seen:
            self.key_seen, self.first_key = True, pts
        if packet.is_discard:
            self.discarded += 1
        elif shows == "picture":
            self.before_key += not self.key_seen
            if pts is None:
                self.timeless[bool(self.shown)] += 1
            else:
                self._note_picture(packet, pts)
        else:
            self.fields += shows == "field"
            self.unchanged += shows == "nothing"
            if shows == "nothing" or self._avi:  # a field has a slot of its own there
                self._extend_last(packet)

    def stay_until_slot(self, slots: int) -> None:
        """Extend the last picture to the last slot of an AVI's index."""
        delay = self.first_pts - self.decoding[0] if self.decoding else 0
        self._stays_until = (max(self._stays_until[0], slots + delay), max(self._stays_until[1], slots))
        self.reach.extend(slots)

    def _extend_last(self, packet: Any) -> None:
        pts, dts = ((time or 0) + (packet.duration or 0) for time in (packet.pts, packet.dts))
        self._stays_until = (max(self._stays_until[0], pts), max(self._stays_until[1], dts))

    def _note_picture(self, packet: Any, pts: int) -> None:
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

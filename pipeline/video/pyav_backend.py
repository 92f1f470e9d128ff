"""The reference backend: FFmpeg through PyAV. It reads every accepted format and detects damage."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import av
import av.error
import numpy as np
from numpy.typing import NDArray

from pipeline.video.clock import Clock
from pipeline.video.container import message_of, open_container, packets_of
from pipeline.video.errors import VideoError
from pipeline.video.frame_folder import FORMAT as FRAME_FOLDER
from pipeline.video.frame_folder import frames_of
from pipeline.video.limits import DEFAULT_MAX_PIXELS
from pipeline.video.metadata import Progress, VideoInfo, no_progress
from pipeline.video.pictures import Geometry, Scaler

# Every packet of these codecs shows a frame, so a missing frame is damage. (VP8 stores frames that are never shown,
# MPEG-4 packets that mean "as before", and interlaced streams may store the two fields separately.)
_ONE_FRAME_PER_PACKET = frozenset(("h264", "hevc", "av1", "vp9", "mpeg1video", "mpeg2video"))


@dataclass(frozen=True)
class TimedFrame:
    """One frame: the ticks `[start, end)` during which it is shown, counted from the first frame, and its picture.

    `end` is None for the last frame of the video. Call `picture()` before you take the next frame.
    """

    start: int
    end: int | None
    picture: Callable[[], NDArray[np.uint8]]


@dataclass
class DecodeCounts:
    """The counts that a backend keeps while it decodes."""

    decoded: int = 0
    flagged: int = 0  # frames that the decoder marks as damaged
    refused: int = 0  # packets that it could not decode
    disordered: int = 0  # frames dropped because they are not later than the one before
    first_tick: int = 0  # of the container's clock, of the first frame
    words: str = ""

    def corrupt(self, info: VideoInfo) -> int:
        """Return the number of frames that are damaged or missing."""
        one_each = info.codec in _ONE_FRAME_PER_PACKET and not info.interlaced
        missing = max(0, info.num_frames - self.decoded) if one_each else 0
        return self.flagged + self.disordered + max(self.refused, missing)


def version() -> str:
    """Return PyAV's version and that of FFmpeg's decoders in it."""
    return f"{av.__version__} (libavcodec {'.'.join(map(str, av.library_versions['libavcodec']))})"


def shown_frames(
    info: VideoInfo,
    geometry: Geometry,
    counts: DecodeCounts,
    *,
    progress: Progress = no_progress,
    entry: int = 0,
) -> Iterator[TimedFrame]:
    """Yield the frames of a video in display order, each with its interval; convert pictures on request only.

    Args:
        entry: the frame to begin with, one of `info.entries` or 0.

    Raises:
        VideoError: decode_error, if no frame can be decoded.
    """
    scaler = Scaler(geometry)
    before: tuple[int, Any] | None = None
    for tick, frame in timed_frames(info, counts, progress=progress, entry=entry):
        if entry:
            counts.first_tick = info.timestamps[0]
        if before is not None:
            yield _shown(before, tick - counts.first_tick, counts, scaler)
        before = (tick, frame)
    if before is None:
        raise VideoError("decode_error", counts.words or "no frame could be decoded")
    yield _shown(before, None, counts, scaler)


def timed_frames(
    info: VideoInfo,
    counts: DecodeCounts,
    *,
    progress: Progress = no_progress,
    entry: int = 0,
) -> Iterator[tuple[int, Any]]:
    """Yield the decoded frames in display order, each with its tick on the container's clock.

    Args:
        entry: as in `shown_frames`.
    """
    return _in_order(_timed(info, counts, progress, entry), counts)


def _shown(timed: tuple[int, Any], end: int | None, counts: DecodeCounts, scaler: Scaler) -> TimedFrame:
    tick, frame = timed
    return TimedFrame(tick - counts.first_tick, end, lambda: scaler.picture(frame))


def _in_order(frames: Iterator[tuple[int, Any]], counts: DecodeCounts) -> Iterator[tuple[int, Any]]:
    """Drop frames that are not later than the one before: time does not run backwards."""
    last: int | None = None
    for tick, frame in frames:
        if last is not None and tick <= last:
            counts.disordered += 1
            continue
        if last is None:
            counts.first_tick = tick
        last = tick
        yield tick, frame


def _timed(info: VideoInfo, counts: DecodeCounts, progress: Progress, entry: int) -> Iterator[tuple[int, Any]]:
    if info.format == FRAME_FOLDER:
        for one in frames_of(info, first=entry, progress=progress):
            counts.decoded += 1
            yield one
        return
    place = 0  # of the first timestamp after those of the frames before
    for frame in _decoded(info, counts, progress, entry):
        tick = None if info.by_order else frame.pts
        if tick is not None and tick < info.timestamps[0]:
            continue  # it refers to frames from before the stream's beginning
        counts.decoded += 1
        counts.flagged += bool(frame.is_corrupt)
        if tick is None and place < info.num_frames:
            tick = info.timestamps[place]
        if tick is None:
            # More frames than packets, and no time that says where they belong. If an MPEG-4 stream ends with a picture
            # that is not coded, its decoder returns the previous one again.
            counts.disordered += info.codec != "mpeg4"
            continue
        place = place + 1 if info.by_order else max(place, bisect_right(info.timestamps, tick))
        yield tick, frame


def _decoded(info: VideoInfo, counts: DecodeCounts, progress: Progress, entry: int) -> Iterator[Any]:
    container, _ = open_container(info.path)
    try:
        stream = container.streams[info.stream_index]
        context = stream.codec_context
        context.thread_count, context.thread_type = 1, "SLICE"
        context.options = {**context.options, "max_pixels": str(DEFAULT_MAX_PIXELS)}
        packets = _packets(container, stream, info, counts)
        if entry:
            packets = _packets_from(info.timestamps[entry], packets, container, stream)
        for packet in packets:
            progress()
            try:
                frames = packet.decode()
            except av.error.MemoryError:
                raise MemoryError from None
            except av.error.EOFError:
                continue
            except av.error.FFmpegError as error:
                if not _is_before(packet, info.timestamps[0]):
                    counts.refused += 1
                    counts.words = counts.words or message_of(error)
                continue
            yield from frames
    finally:
        container.close()


def _is_before(packet: Any, tick: int) -> bool:
    """Return whether a packet refers to frames from before the stream's beginning."""
    shown = packet.pts if packet.pts is not None else packet.dts
    return shown is not None and shown < tick


def _packets(container: Any, stream: Any, info: VideoInfo, counts: DecodeCounts) -> Iterator[Any]:
    """Yield the packets of `stream`; treat an error in the container like the end of the file."""
    packets = packets_of(container, stream)
    clock = Clock(info.format, info.time_base)
    while True:
        try:
            packet = next(packets)
        except StopIteration:
            return
        except av.error.FFmpegError as error:
            counts.words = counts.words or message_of(error)
            yield from clock.rest()
            return
        yield from clock.take(packet)


def _packets_from(tick: int, packets: Iterator[Any], container: Any, stream: Any) -> Iterator[Any]:
    """Yield the packets from the key frame at `tick` on.

    Raises:
        VideoError: decode_error, if the container's index leads past it.
    """
    container.seek(tick, stream=stream, backward=True)
    for packet in packets:
        if packet.is_keyframe and packet.pts == tick:
            yield packet
            yield from packets
            return
        if packet.pts is not None and packet.pts > tick:
            break
    raise VideoError("decode_error", f"the container's index does not lead to the key frame at tick {tick}")

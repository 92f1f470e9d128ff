"""What a video file is, found without decoding it: stream, codec, size, clock, and when each frame is shown."""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.error
import numpy as np

from pipeline.video.container import open_container
from pipeline.video.errors import VideoError
from pipeline.video.packets import Packets, Progress

DEFAULT_MAX_PIXELS = 8192 * 8192
DEFAULT_MAX_SECONDS = 48 * 3600

# AVFieldOrder, AVColorRange and AVColorSpace of FFmpeg, as PyAV hands them on.
_PROGRESSIVE = (0, 1)
_COLOR_RANGES = {1: "limited", 2: "full"}
_COLOR_MATRICES = {
    0: "rgb", 1: "bt709", 4: "fcc", 5: "bt601", 6: "bt601", 7: "smpte240m", 8: "ycgco", 9: "bt2020", 10: "bt2020",
}  # fmt: skip


def no_progress() -> None:
    """Tells nobody that work goes on."""


@dataclass(frozen=True)
class VideoInfo:
    """What probing found. Times are exact; ticks are counted in ``time_base``.

    Args:
        path: the file.
        format: the container's name in FFmpeg ("mov,mp4,…", "matroska,webm", …).
        stream_index: the chosen video stream; num_video_streams: how many there are.
        codec: FFmpeg's name of the codec ("h264", "av1", …).
        width, height: as coded, in pixels, before rotation.
        rotation: degrees counter-clockwise that a player turns the picture by: 0, 90, 180 or 270.
        pixel_format: FFmpeg's name ("yuv420p", …); bits: of one component.
        color_range: "limited", "full" or "unspecified"; color_matrix: "bt601", "bt709", … or "unspecified".
        interlaced: whether the stream says so; frames are taken as they are, nothing is deinterlaced.
        sample_aspect: width of a pixel by its height; pixels are taken as coded.
        time_base: seconds a tick.
        timestamps: ticks at which frames are shown, ascending, one for each packet that is shown, 8 bytes each.
        entries: of the timestamps those of key frames at which decoding can begin: all that is stored before one is
            shown before it, all that is stored after it is shown after it.
        last_duration: ticks for which the last frame is shown.
        by_order: the container stores no presentation times (AVI): the k-th frame gets the k-th timestamp.
        constant_rate: whether all timestamps lie within one tick of a regular grid.
        fps: frames a second, on the average.
        claimed_duration: seconds that the container claims for this stream, else for the whole file.
        claimed_frames: frames that the container claims for this stream; 0: it does not say.
        reached: seconds that the packets reach, to be compared with the claim.
        clean_start: whether the first packet is a key frame and nothing is shown before it.
        discarded: packets that an edit list hides.
        reordered: whether frames are stored in another order than shown (B-frames).
        notes: what the user should know.
    """

    path: Path
    format: str
    stream_index: int
    num_video_streams: int
    codec: str
    width: int
    height: int
    rotation: int
    pixel_format: str
    bits: int
    color_range: str
    color_matrix: str
    interlaced: bool
    sample_aspect: Fraction
    time_base: Fraction
    timestamps: array[int] = field(repr=False)
    entries: array[int] = field(repr=False)
    last_duration: int
    by_order: bool
    constant_rate: bool
    fps: Fraction
    claimed_duration: Fraction | None
    claimed_frames: int
    reached: Fraction
    clean_start: bool
    discarded: int
    reordered: bool
    notes: tuple[str, ...]

    @property
    def num_frames(self) -> int:
        return len(self.timestamps)

    @property
    def start(self) -> Fraction:
        """Time of the first frame on the container's clock, in seconds; it is zero on the video's own."""
        return self.timestamps[0] * self.time_base

    @property
    def duration(self) -> Fraction:
        """Seconds from the start of the first frame to the end of the last."""
        return (self.timestamps[-1] + self.last_duration - self.timestamps[0]) * self.time_base

    @property
    def display_size(self) -> tuple[int, int]:
        """(height, width) in pixels after rotation."""
        return (self.width, self.height) if self.rotation in (90, 270) else (self.height, self.width)


def probe(
    path: Path,
    *,
    max_pixels: int = DEFAULT_MAX_PIXELS,
    max_seconds: int = DEFAULT_MAX_SECONDS,
    progress: Progress = no_progress,
) -> VideoInfo:
    """What the file is and when each of its frames is shown; one pass over its packets, one frame decoded.

    Args:
        max_pixels: most pixels a frame; a file that claims more is refused before a decoder sees it.
        max_seconds: longest video.
        progress: called often, while the pass goes on.

    Raises:
        VideoError: unreadable, refused_container, no_video_stream, unsupported_codec, too_large, too_long,
            decode_error (no packet of the stream), out_of_memory.
    """
    container, words = open_container(path)
    try:
        stream = _best_stream(container)
        context = stream.codec_context
        if not (context.width and context.height):  # FFmpeg leaves out sizes that it could not work with
            too_large = any("Picture size" in word for word in words)
            raise VideoError("too_large" if too_large else "decode_error", "; ".join(["no size of pictures", *words]))
        _refuse_large(context.width, context.height, max_pixels)
        context.thread_count = 1
        context.options = {**context.options, "max_pixels": str(max_pixels)}
        packets = Packets(avi=container.format.name == "avi")
        frame = packets.read(container, stream, progress)
        if not packets.shown:
            raise VideoError("decode_error", packets.error or "the video stream holds no packet")
        if frame is not None:
            _refuse_large(frame.width, frame.height, max_pixels)
        info = _describe(path, container, stream, packets, frame)
    except MemoryError:
        raise VideoError("out_of_memory", "while probing") from None
    finally:
        container.close()
    if info.duration > max_seconds:
        raise VideoError("too_long", f"{float(info.duration):.0f} s, accepted are at most {max_seconds} s")
    return info


def _best_stream(container: Any) -> Any:
    streams = container.streams.video
    if not streams:
        raise VideoError("no_video_stream", f"streams: {', '.join(s.type for s in container.streams) or 'none'}")
    best = container.streams.best("video")
    if best is None or best.codec_context is None:
        raise VideoError("unsupported_codec", f"no decoder for {streams[0].codec_context or 'the video stream'}")
    return best


def _refuse_large(width: int, height: int, max_pixels: int) -> None:
    if width * height > max_pixels:
        raise VideoError("too_large", f"{width}x{height} pixels, accepted are at most {max_pixels}")


def _describe(path: Path, container: Any, stream: Any, packets: Packets, frame: Any | None) -> VideoInfo:
    context = stream.codec_context
    by_order = packets.no_pts > 0 or container.format.name == "avi"
    timestamps = packets.decoding or packets.shown
    np.frombuffer(timestamps, dtype=np.int64).sort()  # in place: a list of a long video's numbers takes ten times more
    time_base = Fraction(stream.time_base)
    constant, fps = _rate(timestamps, time_base, stream.guessed_rate)
    duration = packets.durations[1] if not by_order else 0
    last = duration if duration > 0 else max(1, round(1 / (fps * time_base)))
    picture = frame if frame is not None else context
    pixel_format = (picture.format.name if picture.format else None) or "unknown"
    rotation = round(frame.rotation / 90) * 90 % 360 if frame is not None else 0
    claimed, reached = None, packets.reach.span
    if container.format.name == "avi" and stream.frames:
        claimed = stream.frames * time_base  # FFmpeg shortens the duration, not the count, of an AVI that lost its end
    elif stream.duration:
        claimed = stream.duration * time_base
    elif container.duration:
        # A claim for the whole file is compared with whatever reaches furthest; some containers count it from the
        # first packet, some from zero.
        claimed = Fraction(container.duration, av.time_base)
        reached = max(packets.reach_of_all.span, packets.reach_of_all.end)
    notes = []
    if frame is not None and frame.rotation % 90:
        notes.append(f"rotation of {frame.rotation} degrees rounded to {rotation}")
    # PyAV tells the order of fields from version 18.1 on; before, only the decoded frame says that it is interlaced.
    field_order = getattr(context, "field_order", _PROGRESSIVE[0])
    interlaced = field_order not in _PROGRESSIVE or bool(frame is not None and frame.interlaced_frame)
    if interlaced:
        notes.append("interlaced; frames are used as they are")
    if packets.error:
        notes.append(f"reading stopped early: {packets.error}")
    held = len(timestamps) + packets.discarded
    if stream.frames > held:
        notes.append(f"the container claims {stream.frames} frames and holds {held}")
    if packets.discarded:
        notes.append(f"an edit list hides {packets.discarded} packets")
    return VideoInfo(
        path=path,
        format=container.format.name,
        stream_index=stream.index,
        num_video_streams=len(container.streams.video),
        codec=context.codec.canonical_name,
        width=picture.width,
        height=picture.height,
        rotation=rotation,
        pixel_format=pixel_format,
        bits=max((c.bits for c in picture.format.components), default=8) if picture.format else 0,
        color_range=_COLOR_RANGES.get(int(picture.color_range), "unspecified"),
        color_matrix=_COLOR_MATRICES.get(int(picture.colorspace), "unspecified"),
        interlaced=interlaced,
        sample_aspect=Fraction(stream.sample_aspect_ratio or 1) or Fraction(1),
        time_base=time_base,
        timestamps=timestamps,
        entries=packets.entries,
        last_duration=last,
        by_order=by_order,
        constant_rate=constant,
        fps=fps,
        claimed_duration=claimed,
        claimed_frames=stream.frames,
        reached=reached,
        clean_start=packets.first_is_key and (by_order or packets.first_pts == timestamps[0]),
        discarded=packets.discarded,
        reordered=bool(context.has_b_frames),
        notes=tuple(notes),
    )


def _rate(timestamps: array[int], time_base: Fraction, guessed: Any) -> tuple[bool, Fraction]:
    """Whether the frames lie on a regular grid, to a tick (containers round), and frames a second."""
    steps = len(timestamps) - 1
    span = timestamps[-1] - timestamps[0]
    if steps < 1 or span <= 0:
        return True, Fraction(guessed) if guessed else Fraction(25)
    first = timestamps[0]
    # |timestamp - (first + k * span / steps)| <= 1 tick, in whole numbers.
    constant = all(abs((t - first) * steps - k * span) <= steps for k, t in enumerate(timestamps))
    exact_fps = steps / (span * time_base)
    if constant and guessed and abs(Fraction(guessed) / exact_fps - 1) < Fraction(1, 1000):
        return True, Fraction(guessed)
    return constant, exact_fps.limit_denominator(1_000_000)

"""Probe a video file without decoding it: stream, codec, size, clock, and the time of each frame."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

from av.stream import Disposition

from pipeline.video.container import avi_slots, open_container
from pipeline.video.errors import VideoError
from pipeline.video.joined import num_joined
from pipeline.video.limits import DEFAULT_MAX_PIXELS, DEFAULT_MAX_SECONDS
from pipeline.video.orientation import Orientation, orientation_of
from pipeline.video.packets import Packets, Progress
from pipeline.video.pixel_format import bits_of, color_matrix_of, color_range_of
from pipeline.video.timing import claim_of, last_duration, nominal_fps, rate_of

# Values of FFmpeg's AVFieldOrder, which PyAV passes on as numbers.
_PROGRESSIVE = (0, 1)
_LEAPS = (
    "its clock leaps by more than a minute and the frame before stays meanwhile; if files were put together, "
    "remux each first (ffmpeg -i PART -c copy PART.mkv)"
)
_JOIN = "join them with ffmpeg -f concat -i LIST -c copy OUT"
# Decoders that return no picture whose reference pictures are missing.
_SURE_CODECS = frozenset(("h264", "hevc", "av1", "vp9", "mpeg1video", "mpeg2video"))


def no_progress() -> None:
    """Ignore a report of progress."""


@dataclass(frozen=True)
class VideoInfo:
    """The result of probing a video. Times are exact; ticks count `time_base`.

    Args:
        path: the file.
        format: FFmpeg's name of the container ("mov,mp4,…", "matroska,webm", …).
        stream_index: index of the chosen video stream.
        num_video_streams: number of video streams.
        codec: FFmpeg's name of the codec ("h264", "av1", …).
        width, height: coded size in pixels, before rotation.
        rotation: degrees counter-clockwise by which a player rotates the picture: 0, 90, 180 or 270.
        mirrored: whether a player swaps left and right before that.
        upright: whether the display matrix is missing or the identity.
        pixel_format: FFmpeg's name ("yuv420p", …).
        bits: bits of one component.
        color_range: "limited", "full" or "unspecified".
        color_matrix: "bt601", "bt709", … or "unspecified".
        interlaced: whether the stream says so; frames are used as they are, without deinterlacing.
        sample_aspect: width of a pixel divided by its height; pixels are used as coded.
        time_base: seconds per tick.
        timestamps: ticks at which frames are shown, ascending, from the first decodable frame on, 8 bytes each.
        entries: timestamps of the key frames at which decoding can begin: packets stored before such a frame are shown
            before it, packets stored after it are shown after it.
        last_duration: ticks for which the last frame is shown.
        by_order: no packet says when its frame is shown (H.264 in AVI): the k-th frame gets the k-th timestamp.
        container_start: start of the first picture or sound, in seconds on the container's clock.
        constant_rate: whether all timestamps lie within one tick of a regular grid.
        fps: average frames per second.
        claimed_duration: seconds that the container claims for this stream, else for the whole file.
        claimed_frames: frames that the container claims for this stream; 0: no claim.
        reached: seconds that the packets reach, for comparison with the claim.
        clean_start: whether the first packet is a key frame and no frame is shown before it.
        discarded: number of packets that an edit list hides.
        reordered: whether the stored order of frames differs from the display order (B-frames).
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
    mirrored: bool
    upright: bool
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
    container_start: Fraction
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
        """Time of the first frame on the container's clock, in seconds; on the video's own clock it is zero."""
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
    """Probe a file in one pass over its packets; decode a single frame.

    Args:
        max_pixels: most pixels per frame; a file that claims more is refused before a decoder sees it.
        max_seconds: longest video.
        progress: called often during the pass.

    Raises:
        VideoError: unreadable, refused_container, no_video_stream, unsupported_codec, too_large, too_long,
            decode_error (no packet of the stream), out_of_memory.
    """
    container, words = open_container(path)
    try:
        stream = _best_stream(container)
        context = stream.codec_context
        if not (context.width and context.height):  # FFmpeg omits sizes that it cannot handle
            too_large = any("Picture size" in word for word in words)
            raise VideoError("too_large" if too_large else "decode_error", "; ".join(["no size of pictures", *words]))
        _refuse_large(context.width, context.height, max_pixels)
        context.thread_count = 1
        context.options = {**context.options, "max_pixels": str(max_pixels)}
        packets = Packets(container, stream)
        frame = packets.read(container, stream, progress)
        if container.format.name == "avi" and stream.frames * stream.time_base > packets.reach.end:
            packets.stay_until_slot(avi_slots(path, stream.index))
        if not packets.shown and not any(packets.timeless):
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
    streams = [stream for stream in container.streams.video if not _is_cover(stream)]
    if not streams:
        kinds = ["cover picture" if _is_cover(stream) else stream.type for stream in container.streams]
        raise VideoError("no_video_stream", f"streams: {', '.join(kinds) or 'none'}")
    best = container.streams.best("video")
    if best is None or best.codec_context is None:
        raise VideoError("unsupported_codec", f"no decoder for {streams[0].codec_context or 'the video stream'}")
    return streams[0] if _is_cover(best) else best


def _is_cover(stream: Any) -> bool:
    return bool(stream.disposition & Disposition.attached_pic)


def _refuse_large(width: int, height: int, max_pixels: int) -> None:
    if width * height > max_pixels:
        raise VideoError("too_large", f"{width}x{height} pixels, accepted are at most {max_pixels}")


def _describe(path: Path, container: Any, stream: Any, packets: Packets, frame: Any | None) -> VideoInfo:
    context = stream.codec_context
    codec = context.codec.canonical_name
    by_order = packets.by_order
    time_base = Fraction(stream.time_base)
    nominal = nominal_fps(stream)
    timestamps = packets.timestamps(max(1, round(1 / (nominal * time_base))))
    start = timestamps[0]
    undecodable = _undecodable(timestamps, packets, codec, frame)
    del timestamps[:undecodable]
    constant, fps = rate_of(timestamps, time_base, stream.guessed_rate)
    if container.format.name == "avi" and stream.guessed_rate:
        # An AVI has slots at this rate: a frame or a field in each, and at an empty one the frame before stays.
        fps = Fraction(stream.guessed_rate) * len(timestamps) / (len(timestamps) + packets.fields)
    picture = frame if frame is not None else context
    pixel_format = (picture.format.name if picture.format else None) or "unknown"
    orientation = orientation_of(frame) if frame is not None else Orientation()
    claimed, reached = claim_of(path, container, stream, packets)
    last = last_duration(timestamps, packets, container, stream, fps=fps if constant else None, nominal=nominal)
    # PyAV gives the field order from version 18.1 on; before, only the decoded frame says that it is interlaced.
    field_order = getattr(context, "field_order", _PROGRESSIVE[0])
    interlaced = field_order not in _PROGRESSIVE or bool(frame is not None and frame.interlaced_frame)
    info = VideoInfo(
        path=path,
        format=container.format.name,
        stream_index=stream.index,
        num_video_streams=len(container.streams.video),
        codec=codec,
        width=picture.width,
        height=picture.height,
        rotation=orientation.rotation,
        mirrored=orientation.mirrored,
        upright=orientation.upright,
        pixel_format=pixel_format,
        bits=bits_of(picture),
        color_range=color_range_of(picture),
        color_matrix=color_matrix_of(picture),
        interlaced=interlaced,
        sample_aspect=Fraction(stream.sample_aspect_ratio or 1) or Fraction(1),
        time_base=time_base,
        timestamps=timestamps,
        entries=packets.entries,
        last_duration=last,
        by_order=by_order,
        container_start=min([start * time_base, *packets.first_sound.values()]),
        constant_rate=constant,
        fps=fps,
        claimed_duration=claimed,
        claimed_frames=stream.frames,
        reached=reached,
        clean_start=packets.first_is_key and (by_order or packets.first_pts == timestamps[0]) and not undecodable,
        discarded=packets.discarded,
        reordered=bool(context.has_b_frames),
        notes=(),
    )
    streams = sum(not _is_cover(one) for one in container.streams.video)
    return replace(info, notes=_notes(info, packets, streams, orientation.note, undecodable, nominal))


def _notes(
    info: VideoInfo, packets: Packets, streams: int, orientation: str, undecodable: int, nominal: Fraction
) -> tuple[str, ...]:
    """Return the notes for the user: those that apply."""
    claimed, held = info.claimed_frames, info.num_frames + undecodable + packets.discarded
    held += packets.fields + packets.unchanged
    if info.format == "avi":  # it claims slots, also those that are empty
        held = max(held, int(packets.reach.end / info.time_base))
    joined = num_joined(info.path, info.format)
    stays = packets.unchanged if info.codec == "mpeg4" else 0  # VP8 has frames that are never shown
    placed = "they are put between the others" if packets.shown else f"they are shown at {float(nominal):g} a second"
    notes = (
        (bool(orientation), orientation),
        (streams > 1, f"video streams: {streams}; that with the index {info.stream_index} is read"),
        (info.interlaced, "interlaced; frames are used as they are"),
        (bool(packets.error), f"reading stopped early: {packets.error}"),
        (claimed > held, f"the container claims {claimed} frames and holds {held}"),
        (joined > 1, f"{joined} files put together, of which the first alone is read; {_JOIN}"),
        (packets.discarded > 0, f"an edit list hides {packets.discarded} packets"),
        (undecodable > 0, f"it begins between key frames; frames at its start that cannot be decoded: {undecodable}"),
        (stays > 0, f"pictures that are not coded: {stays}; the one before stays"),
        (any(packets.timeless), f"frames without a time: {sum(packets.timeless)}; {placed}"),
        (packets.clock.restarts > 0, f"restarts of its clock: {packets.clock.restarts}; each part follows the last"),
        (packets.clock.leaps > 0, _LEAPS),
    )
    return tuple(words for applies, words in notes if applies)


def _undecodable(timestamps: array[int], packets: Packets, codec: str, frame: Any | None) -> int:
    """Return how many of the first frames refer to frames from before the stream's beginning."""
    if packets.by_order or packets.first_key is None:
        found = packets.before_key if packets.key_seen else 0
    else:
        first = packets.first_key
        if codec in _SURE_CODECS and frame is not None and frame.pts is not None and not frame.is_corrupt:
            first = min(first, frame.pts)
        found = bisect_left(timestamps, first)
    return found if found < len(timestamps) else 0

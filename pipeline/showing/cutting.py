"""Cut a clip out of a video: copy its streams from a key frame on, or encode its pictures again."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.error

from pipeline.showing.encoding import Encoder, PictureSize
from pipeline.video.container import message_of, open_container, packets_of
from pipeline.video.errors import VideoError
from pipeline.video.frame_folder import FORMAT as FRAME_FOLDER
from pipeline.video.metadata import Progress, VideoInfo, no_progress
from pipeline.video.pyav_backend import DecodeCounts, timed_frames
from pipeline.video.ranges import entry_before, why_whole

# Containers that can hold whatever a source with this suffix holds; for all others, Matroska can.
_COPY_SUFFIXES = {".mp4": ".mp4", ".m4v": ".mp4", ".mov": ".mov", ".webm": ".webm"}
_FORMATS = {".mp4": "mp4", ".mov": "mov", ".webm": "webm", ".mkv": "matroska"}
_SOUND_IN_MP4 = frozenset(("aac", "mp3", "ac3", "eac3", "opus", "flac", "alac"))
_FUZZ = Fraction(2, 10**6)  # seconds in files are rounded to a microsecond: no frame is missed by less
_AHEAD = Fraction(1)  # seconds by which the sound of a picture may be stored before it
_NO_CLIP = "the video has no picture between {:.3f} and {:.3f} s"


@dataclass(frozen=True)
class Clip:
    """What was cut: `[start, end)` in seconds of the video's own clock, and the suffix that suits the container."""

    start: Fraction
    end: Fraction
    suffix: str


def frames_between(info: VideoInfo, start: float, end: float) -> tuple[int, int]:
    """Return the frames that are shown in `[start, end)` seconds, half-open: from the one on the screen at the start.

    Raises:
        VideoError: decode_error, if there is none.
    """
    if start >= float(info.duration) or end <= 0:
        raise VideoError("decode_error", _NO_CLIP.format(start, end))
    first = max(0, bisect_right(info.timestamps, _tick(info, Fraction(start) + _FUZZ)) - 1)
    after = bisect_right(info.timestamps, _tick(info, Fraction(end) - _FUZZ))
    return first, max(after, first + 1)


def _tick(info: VideoInfo, seconds: Fraction) -> int:
    """Return the last tick up to a time of the video's own clock."""
    return info.timestamps[0] + int(seconds // info.time_base)


def _seconds(info: VideoInfo, frame: int) -> Fraction:
    """Return when a frame begins; for the one after the last, when the video ends."""
    if frame >= info.num_frames:
        return info.duration
    return (info.timestamps[frame] - info.timestamps[0]) * info.time_base


def copy_clip(info: VideoInfo, start: float, end: float, out: Path, *, progress: Progress = no_progress) -> Clip:
    """Copy video and sound from the last key frame up to `start`, without decoding them, into the file `out`.

    Pictures that others before `end` refer to may come after it, and those between.

    Raises:
        VideoError: decode_error, if the video has no times, or its container cannot be cut this way.
    """
    if info.format == FRAME_FOLDER:
        raise VideoError("decode_error", "a folder of pictures cannot be copied as a video; cut it with --cut exact")
    if info.by_order:
        raise VideoError("decode_error", "the container stores no presentation times; cut it with --cut exact")
    first, after = frames_between(info, start, end)
    entry = entry_before(info, first)
    suffix = _COPY_SUFFIXES.get(info.path.suffix.lower(), ".mkv")
    source, _ = open_container(info.path)
    try:
        video = source.streams[info.stream_index]
        sound = _sound_of(source)
        with av.open(str(out), "w", format=_FORMATS[suffix]) as clip:
            targets = {
                stream.index: clip.add_stream_from_template(stream, opaque=True) for stream in (video, sound) if stream
            }
            if entry:
                source.seek(_back(info, entry), stream=video, backward=True)
            last = info.timestamps[entry]
            for packet in _packets_between(source, video, sound, info, entry, after):
                progress()
                if packet.stream.index == video.index:
                    last = max(last, packet.pts)
                clip.mux(_moved(packet, targets[packet.stream.index], info.timestamps[entry] * info.time_base))
    except (av.error.FFmpegError, ValueError) as error:  # PyAV raises the latter for what it cannot copy
        raise VideoError("decode_error", f"{message_of(error)}; try --cut exact") from None
    finally:
        source.close()
    return Clip(_seconds(info, entry), _seconds(info, bisect_right(info.timestamps, last)), suffix)


def _packets_between(source: Any, video: Any, sound: Any, info: VideoInfo, entry: int, after: int) -> Iterator[Any]:
    """Yield the packets of a clip: of the video from its key frame on, of the sound what is heard with it."""
    key, end = info.timestamps[entry], _end_tick(info, after)
    begin, stop = key * info.time_base, end * info.time_base
    started, last = entry == 0, key
    streams = [stream for stream in (video, sound) if stream]
    for packet in packets_of(source, *streams):
        if not packet.size or packet.dts is None or packet.pts is None:
            continue
        if packet.stream.index != video.index:
            at = packet.pts * packet.time_base
            if begin <= at < stop:
                yield packet
            continue
        if not started and packet.pts > key and packet.dts > key:
            raise VideoError("decode_error", "its index does not lead to the key frame; cut it with --cut exact")
        started = started or bool(packet.is_keyframe and packet.pts == key)
        if packet.dts * info.time_base >= stop + _AHEAD:
            return
        if started and (packet.dts < end or packet.pts < last):
            last = max(last, packet.pts)
            yield packet


def exact_clip(
    info: VideoInfo,
    start: float,
    end: float,
    out: Path,
    *,
    picture: PictureSize | None = None,
    progress: Progress = no_progress,
) -> Clip:
    """Decode the pictures that are shown in `[start, end)` and encode them again; copy the sound.

    Args:
        picture: size and rate that all pictures get, for clips that are joined: then there is no sound.
        progress: called often.

    Raises:
        VideoError: decode_error, if no picture can be decoded.
    """
    first, after = frames_between(info, start, end)
    if info.format == FRAME_FOLDER:
        entry, source = first, None
    else:
        entry = entry_before(info, first) if why_whole(info) is None else 0
        source, _ = open_container(info.path)
    try:
        sound = _sound_of(source) if source is not None and picture is None else None
        suffix = ".mp4" if sound is None or sound.codec_context.name in _SOUND_IN_MP4 else ".mkv"
        with av.open(str(out), "w", format=_FORMATS[suffix]) as clip:
            encoder = Encoder(clip, info, picture)
            heard = _sound_between(source, sound, clip, info, range(first, after), progress) if sound else []
            frames = _shown(info, entry, first, after, progress)
            for packet in encoder.packets(frames, first_tick=info.timestamps[first], end=_end_tick(info, after)):
                while heard and heard[0].pts * heard[0].time_base <= packet.pts * packet.time_base:
                    clip.mux(heard.pop(0))
                clip.mux(packet)
            for packet in heard:
                clip.mux(packet)
    except av.error.FFmpegError as error:
        raise VideoError("decode_error", message_of(error)) from None
    finally:
        if source is not None:
            source.close()
    if not encoder.frames:
        raise VideoError("decode_error", _NO_CLIP.format(start, end))
    return Clip(_seconds(info, first), _seconds(info, after), suffix)


def _end_tick(info: VideoInfo, after: int) -> int:
    return info.timestamps[after] if after < info.num_frames else info.timestamps[-1] + info.last_duration


def _shown(info: VideoInfo, entry: int, first: int, after: int, progress: Progress) -> Iterator[tuple[int, Any]]:
    """Yield the frames from `first` on, before `after`, each with its tick."""
    end = _end_tick(info, after)
    for tick, frame in timed_frames(info, DecodeCounts(), progress=progress, entry=entry):
        if tick >= end:
            return
        if tick >= info.timestamps[first]:
            yield tick, frame


def _sound_of(source: Any) -> Any | None:
    """Return the stream of sound that players choose, if there is one that can be copied."""
    best = source.streams.best("audio")
    return best if best is not None and best.codec_context is not None else None


def _sound_between(source: Any, sound: Any, clip: Any, info: VideoInfo, frames: range, progress: Progress) -> list[Any]:
    """Return the packets of sound that begin while the frames are shown, on the clock of the clip."""
    begin, end = info.timestamps[frames.start] * info.time_base, _end_tick(info, frames.stop) * info.time_base
    target = clip.add_stream_from_template(sound, opaque=True)
    if why_whole(info) is None:
        source.seek(max(0, int((begin - _AHEAD) / sound.time_base)), stream=sound, backward=True)
    packets = []
    for packet in packets_of(source, sound):
        progress()
        if not packet.size or packet.pts is None or packet.dts is None:
            continue
        at = packet.pts * packet.time_base
        if at >= end:
            break
        if at >= begin:
            packets.append(_moved(packet, target, begin))
    return packets


def _back(info: VideoInfo, entry: int) -> int:
    """Return a tick a moment before a key frame, so that the sound that is stored before it is read too."""
    return max(info.timestamps[0], info.timestamps[entry] - int(_AHEAD / info.time_base))


def _moved(packet: Any, target: Any, origin: Fraction) -> Any:
    """Return the packet on the clock of the clip, which begins at `origin` seconds of the container's clock."""
    shift = round(origin / packet.time_base)
    packet.pts -= shift
    packet.dts -= shift
    packet.stream = target
    return packet

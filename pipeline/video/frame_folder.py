"""A folder of numbered pictures as a video: picture k is shown from `k / rate` seconds on."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.error

from pipeline.video.container import message_of
from pipeline.video.errors import VideoError
from pipeline.video.frame_names import pictures_of
from pipeline.video.limits import DEFAULT_MAX_PIXELS, DEFAULT_MAX_SECONDS
from pipeline.video.metadata import Progress, VideoInfo, no_progress, probe
from pipeline.video.orientation import orientation_of
from pipeline.video.pixel_format import bits_of, color_matrix_of, color_range_of

FORMAT = "frames"  # `VideoInfo.format` of a folder
_CODECS = {".jpg": "mjpeg", ".jpeg": "mjpeg", ".png": "png"}
_LARGEST_BYTES = 256 << 20  # of a picture's file


def probe_frames(
    folder: Path,
    rate: Fraction,
    *,
    max_pixels: int = DEFAULT_MAX_PIXELS,
    max_seconds: int = DEFAULT_MAX_SECONDS,
    progress: Progress = no_progress,
) -> VideoInfo:
    """Return what `pipeline.video.metadata.probe` returns for a video; decode the first picture alone.

    Args:
        rate: pictures a second.
        max_pixels, max_seconds, progress: as for `probe`.

    Raises:
        VideoError: unreadable, too_large, too_long, decode_error.
    """
    pictures = pictures_of(folder)
    progress()
    if len(pictures) > max_seconds * rate:
        raise VideoError("too_long", f"{float(len(pictures) / rate):.0f} s, accepted are at most {max_seconds} s")
    frame = _decoded(pictures[0], max_pixels)
    orientation = orientation_of(frame)
    return VideoInfo(
        path=folder,
        format=FORMAT,
        stream_index=0,
        num_video_streams=1,
        codec=_CODECS[pictures[0].suffix.lower()],
        width=frame.width,
        height=frame.height,
        rotation=orientation.rotation,
        mirrored=orientation.mirrored,
        upright=orientation.upright,
        pixel_format=frame.format.name,
        bits=bits_of(frame),
        color_range=color_range_of(frame),
        color_matrix=color_matrix_of(frame),
        interlaced=False,
        sample_aspect=Fraction(1),
        time_base=1 / rate,
        timestamps=array("q", range(len(pictures))),
        entries=array("q", range(len(pictures))),
        last_duration=1,
        by_order=False,
        container_start=Fraction(0),
        constant_rate=True,
        fps=rate,
        claimed_duration=None,
        claimed_frames=0,
        reached=len(pictures) / rate,
        clean_start=True,
        discarded=0,
        reordered=False,
        notes=(orientation.note,) if orientation.note else (),
    )


def probe_any(
    path: Path,
    rate: Fraction | None,
    *,
    max_pixels: int = DEFAULT_MAX_PIXELS,
    max_seconds: int = DEFAULT_MAX_SECONDS,
    progress: Progress = no_progress,
) -> VideoInfo:
    """Return what `probe_frames` finds in a folder of pictures, or with rate None what `probe` finds in a file."""
    bounds = {"max_pixels": max_pixels, "max_seconds": max_seconds}
    if rate is None:
        return probe(path, **bounds, progress=progress)
    return probe_frames(path, rate, **bounds, progress=progress)


def frames_of(info: VideoInfo, *, first: int = 0, progress: Progress = no_progress) -> Iterator[tuple[int, Any]]:
    """Yield tick and decoded picture of each frame of a folder, from the frame `first` on.

    Raises:
        VideoError: unreadable or decode_error, which name the first bad picture.
    """
    for tick, picture in enumerate(pictures_of(info.path)[first:], start=first):
        progress()
        frame = _decoded(picture, DEFAULT_MAX_PIXELS)
        if (frame.width, frame.height) != (info.width, info.height):
            size = f"{frame.width}x{frame.height}"
            raise VideoError(
                "decode_error", f"{picture.name} is {size} pixels, the first picture {info.width}x{info.height}"
            )
        yield tick, frame


def _decoded(picture: Path, max_pixels: int) -> Any:
    if not picture.is_file():
        raise VideoError("unreadable", f"{picture.name} is not a regular file")
    try:
        if picture.stat().st_size > _LARGEST_BYTES:
            raise VideoError("too_large", f"{picture.name} is larger than {_LARGEST_BYTES >> 20} MiB")
        data = picture.read_bytes()
    except OSError as error:
        raise VideoError("unreadable", f"{picture.name}: {error.strerror}") from None
    context: Any = av.CodecContext.create(_CODECS[picture.suffix.lower()], "r")
    context.thread_count = 1
    context.options = {"max_pixels": str(max_pixels), "err_detect": "explode"}
    try:
        frames = [*context.decode(av.Packet(data)), *context.decode(None)] if data else []
    except av.error.MemoryError:
        raise MemoryError from None
    except (av.error.FFmpegError, ValueError) as error:
        raise VideoError("decode_error", f"{picture.name} cannot be decoded: {message_of(error)}") from None
    if not frames or frames[0].is_corrupt:
        raise VideoError(
            "decode_error", f"{picture.name} cannot be decoded: {'no picture in it' if not frames else 'damaged'}"
        )
    if frames[0].width * frames[0].height > max_pixels:
        size = f"{frames[0].width}x{frames[0].height}"
        raise VideoError("too_large", f"{picture.name} is {size} pixels, accepted are at most {max_pixels}")
    return frames[0]

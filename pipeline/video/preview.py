"""What a page needs of a video: whether browsers play it, small pictures along it, a small copy that they play."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import groupby
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from pipeline.storage.atomic_files import whole_file
from pipeline.video.errors import VideoError
from pipeline.video.frame_folder import FORMAT as FRAME_FOLDER
from pipeline.video.frame_folder import probe_any
from pipeline.video.metadata import VideoInfo
from pipeline.video.pictures import Geometry
from pipeline.video.pyav_backend import DecodeCounts, TimedFrame, shown_frames

THUMBNAILS = 16
_THUMBNAIL_HEIGHT, _MOST_WIDTH = 54, 128
_COPY_HEIGHT = 360
_COPY_CLOCK = Fraction(1, 90_000)
# Between two key frames no more pixels are decoded for a thumbnail than this: it then shows an earlier moment.
_MOST_PIXELS = 60_000_000
_LEAST_FRAMES = 30
# What Chromium, Firefox and Safari all play from a file.
_PLAYED = {"mov,mp4,m4a,3gp,3g2,mj2": ("h264", "vp9", "av1"), "matroska,webm": ("vp8", "vp9", "av1")}
_PLAYED_PIXELS = ("yuv420p", "yuvj420p", "yuv420p10le")
# The codecs of copies, best first: (codec, container, suffix, options).
_COPIES = (
    ("libx264", "mp4", ".mp4", {"preset": "veryfast", "crf": "28"}),
    ("libvpx", "webm", ".webm", {"deadline": "realtime", "cpu-used": "8", "crf": "30", "b": "1M"}),
)


@dataclass(frozen=True)
class Preview:
    """What was found out about a video, and made of it.

    Args:
        seconds: its duration.
        obstacle: why browsers may not play it; empty if they do.
        strip: whether the picture with the thumbnails was written.
        copy: name of the playable copy; empty without one.
    """

    seconds: float
    obstacle: str = ""
    strip: bool = False
    copy: str = ""


def preview(
    video: Path, folder: Path, stem: str, *, thumbnails: bool, copies: bool, frame_rate: Fraction | None = None
) -> Preview:
    """Look at a video; write its thumbnails `STEM.jpg` and, if browsers may not play it, a copy `STEM.mp4` or `.webm`.

    Files that exist are kept: `stem` must tell the content.

    Args:
        frame_rate: pictures a second, if the video is a folder of numbered pictures.

    Raises:
        VideoError: it cannot be read.
    """
    info = probe_any(video, frame_rate)
    obstacle, strip = _obstacle(info, video), folder / f"{stem}.jpg"
    if thumbnails and not strip.exists():
        _write_strip(info, strip)
    copy = ""
    if copies and obstacle:
        _, _, suffix, _ = copy_codec()
        copy = f"{stem}{suffix}"
        if not (folder / copy).exists():
            _write_copy(info, folder / copy)
    return Preview(float(info.duration), obstacle, strip.exists(), copy)


def copy_codec() -> tuple[str, str, str, dict[str, str]]:
    """Return codec, container, suffix and options of playable copies: H.264 if the installed FFmpeg has it, else VP8.

    Raises:
        VideoError: it has neither.
    """
    for choice in _COPIES:
        if choice[0] in av.codecs_available:
            return choice
    raise VideoError("unsupported_codec", "the installed FFmpeg has no encoder for H.264 or VP8: no copy can be made")


def _obstacle(info: VideoInfo, video: Path) -> str:
    """Return why browsers may not play the video; empty if they do."""
    if info.format == FRAME_FOLDER:
        return "it is a folder of pictures"
    name = info.codec.upper() if info.codec in ("h264", "hevc", "vp8", "vp9", "av1") else info.codec
    is_webm = info.format != "matroska,webm" or video.suffix.lower() == ".webm"
    if info.codec in _PLAYED.get(info.format, ()) and is_webm:
        if info.pixel_format in _PLAYED_PIXELS[: 2 if info.codec == "h264" else 3]:
            return ""
        return f"{name} with pixels {info.pixel_format}"
    container = "Matroska" if info.format == "matroska,webm" else info.format.split(",")[0]
    return f"{name} in {container}"


def _write_strip(info: VideoInfo, file: Path) -> None:
    """Write the thumbnails side by side, each of the middle of its share of the video, as a JPEG picture."""
    from PIL import Image

    height, width = info.display_size
    shown_width = max(24, min(_MOST_WIDTH, round(_THUMBNAIL_HEIGHT * width / height)))
    geometry = _scaled(info, _THUMBNAIL_HEIGHT, shown_width)
    strip = np.zeros((_THUMBNAIL_HEIGHT, THUMBNAILS * shown_width, 3), np.uint8)
    first, span = info.timestamps[0], info.timestamps[-1] + info.last_duration - info.timestamps[0]
    targets = [(place, first + span * (2 * place + 1) // (2 * THUMBNAILS)) for place in range(THUMBNAILS)]
    entries = sorted(info.entries)

    def start_of(target: tuple[int, int]) -> int:
        place = bisect_right(entries, target[1])
        return bisect_left(info.timestamps, entries[place - 1]) if place else 0

    most = max(_LEAST_FRAMES, _MOST_PIXELS // (info.width * info.height)) if len(entries) > THUMBNAILS else math.inf
    for entry, wanted in groupby(targets, key=start_of):
        for place, picture in _pictures_at(info, geometry, entry, list(wanted), most):
            strip[:, place * shown_width : (place + 1) * shown_width] = picture
    with whole_file(file) as partial:
        Image.fromarray(strip).save(partial, format="JPEG", quality=70)


def _pictures_at(
    info: VideoInfo, geometry: Geometry, entry: int, wanted: list[tuple[int, int]], most: float
) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """Yield (place, picture) of the frames shown at the wanted ticks, decoding from the key frame `entry` on."""
    first = info.timestamps[0]
    for number, frame in enumerate(shown_frames(info, geometry, DecodeCounts(), entry=entry)):
        while wanted and (frame.end is None or number >= most or wanted[0][1] - first < frame.end):
            yield wanted.pop(0)[0], frame.picture()
        if not wanted:
            return


def _write_copy(info: VideoInfo, file: Path) -> None:
    """Write the pictures, without sound, at their own times from 0 on, at most 360 lines high."""
    codec, container, _, options = copy_codec()
    height, width = info.display_size
    scale = min(1.0, _COPY_HEIGHT / height)
    height, width = (max(2, round(size * scale / 2) * 2) for size in (height, width))
    frames = shown_frames(info, _scaled(info, height, width), DecodeCounts())
    layout = {"movflags": "+faststart"} if container == "mp4" else {}  # the index first: playing starts at once
    with whole_file(file) as partial, av.open(str(partial), "w", format=container, options=layout) as out:
        stream = out.add_stream(codec, rate=round(info.fps) or 1)
        stream.height, stream.width, stream.pix_fmt = height, width, "yuv420p"
        stream.codec_context.time_base = _COPY_CLOCK
        stream.options = options
        for frame in frames:
            out.mux(stream.encode(_timed(frame, info)))
        out.mux(stream.encode(None))


def _timed(frame: TimedFrame, info: VideoInfo) -> av.VideoFrame:
    made = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame.picture()), format="rgb24")
    made.pts, made.time_base = round(frame.start * info.time_base / _COPY_CLOCK), _COPY_CLOCK
    return made


def _scaled(info: VideoInfo, height: int, width: int) -> Geometry:
    """Return the geometry of whole pictures: the kept square is as large as the longer side."""
    return Geometry(height, width, 0, 0, max(height, width), info.rotation, info.mirrored)

"""Encode the pictures of a clip: as they are, or all at one size and rate."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av
import numpy as np
from av.video.reformatter import Colorspace

from pipeline.video.metadata import VideoInfo
from pipeline.video.pictures import INTERPOLATIONS

_BT601, _LIMITED = 5, 1  # FFmpeg's numbers for the matrix and the range that RGB pictures are encoded with


@dataclass(frozen=True)
class PictureSize:
    """The size of a picture in pixels, even numbers, and how many there are a second."""

    height: int
    width: int
    fps: int


class Encoder:
    """Encodes frames into a container as H.264; as MPEG-4 part 2, if the installed FFmpeg has no x264.

    Args:
        clip: an open container without streams.
        info: the video that the frames are from.
        picture: the size and rate to give them; None: their own, and upright.

    Attributes:
        frames: number of frames that were encoded.
    """

    def __init__(self, clip: Any, info: VideoInfo, picture: PictureSize | None) -> None:
        self.frames = 0
        self._info, self._picture = info, picture
        height, width = (picture.height, picture.width) if picture else info.display_size
        self._height, self._width = max(2, height // 2 * 2), max(2, width // 2 * 2)  # yuv420p needs even numbers
        rate = Fraction(picture.fps) if picture else info.fps.limit_denominator(1001)
        self._time_base = 1 / rate if picture else info.time_base
        x264 = "libx264" in av.codecs_available
        self._stream = clip.add_stream("libx264" if x264 else "mpeg4", rate=rate)
        context = self._stream.codec_context
        context.height, context.width, context.pix_fmt = self._height, self._width, "yuv420p"
        context.time_base = self._time_base
        context.thread_count = 1  # one thread gives the same bytes everywhere
        if picture is None and not info.rotation:
            context.sample_aspect_ratio = info.sample_aspect
        if x264:
            self._stream.options = {"preset": "veryfast", "crf": "18"}
        else:
            context.bit_rate = self._height * self._width * 30

    def packets(self, frames: Iterator[tuple[int, Any]], *, first_tick: int, end: int) -> Iterator[Any]:
        """Yield the packets of a clip.

        Args:
            frames: the video's frames with their ticks.
            first_tick: when the clip begins; the first frame is shown from then on.
            end: when it ends.
        """
        timed = self._at_rate(frames, first_tick, end) if self._picture else self._as_they_are(frames, first_tick, end)
        for time, duration, frame in timed:
            encoded = self._converted(frame)
            encoded.pts, encoded.duration, encoded.time_base = time, duration, self._time_base
            encoded.pict_type = 0  # the type in the source says nothing about the new one
            if not self.frames and self._picture is None:
                self._stream.codec_context.color_range = encoded.color_range
                self._stream.codec_context.colorspace = encoded.colorspace
            self.frames += 1
            yield from self._stream.encode(encoded)
        if self.frames:
            yield from self._stream.encode(None)

    def _as_they_are(
        self, frames: Iterator[tuple[int, Any]], first_tick: int, end: int
    ) -> Iterator[tuple[int, int, Any]]:
        before: tuple[int, Any] | None = None
        for tick, frame in frames:
            if before is not None:
                yield before[0] - first_tick, tick - before[0], before[1]
            before = (tick if before is not None else first_tick, frame)
        if before is not None:
            yield before[0] - first_tick, max(1, end - before[0]), before[1]

    def _at_rate(self, frames: Iterator[tuple[int, Any]], first_tick: int, end: int) -> Iterator[tuple[int, int, Any]]:
        """Yield the frame that is on the screen at each tick of the clip's own clock, at least one."""
        ticks = self._time_base / self._info.time_base  # of the video, between two pictures of the clip
        number, shown = 0, None
        for tick, frame in frames:
            while shown is not None and first_tick + number * ticks < tick:
                yield number, 1, shown
                number += 1
            shown = frame
        while shown is not None and (first_tick + number * ticks < end or number == 0):
            yield number, 1, shown
            number += 1

    def _converted(self, frame: Any) -> Any:
        info = self._info
        if self._picture is None and not info.rotation and not info.mirrored:
            return frame.reformat(width=self._width, height=self._height, format="yuv420p")
        canvas = np.zeros((self._height, self._width, 3), np.uint8)
        upright = self._upright(frame)
        top, left = ((room - size) // 2 for room, size in zip(canvas.shape, upright.shape[:2], strict=False))
        canvas[top : top + upright.shape[0], left : left + upright.shape[1]] = upright
        picture = av.VideoFrame.from_ndarray(canvas, format="rgb24")
        encoded = picture.reformat(format="yuv420p", dst_colorspace=Colorspace.ITU601)
        encoded.colorspace, encoded.color_range = _BT601, _LIMITED
        return encoded

    def _upright(self, frame: Any) -> np.ndarray:
        """Return the picture as a player shows it, uint8 [H, W, 3], as large as fits."""
        info = self._info
        height, width = info.display_size
        shown_width = width * float(info.sample_aspect) if self._picture and not info.rotation else width
        scale = min(self._height / height, self._width / shown_width) if self._picture else 1.0
        height = min(self._height, max(1, round(height * scale)))
        width = min(self._width, max(1, round(shown_width * scale)))
        sideways = info.rotation in (90, 270)
        size = {"width": height, "height": width} if sideways else {"width": width, "height": height}
        picture = frame.reformat(**size, format="rgb24", interpolation=INTERPOLATIONS["bilinear"]).to_ndarray()
        if info.mirrored:
            picture = picture[:, ::-1]
        return np.rot90(picture, info.rotation // 90)

"""Single pictures of a video, for contact sheets."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.snippets import exact, tick_of
from pipeline.video.errors import VideoError
from pipeline.video.frame_folder import FORMAT as FRAME_FOLDER
from pipeline.video.frame_folder import probe_any
from pipeline.video.helper import Helper, serve
from pipeline.video.mail import Line, Message
from pipeline.video.metadata import VideoInfo
from pipeline.video.pictures import Geometry
from pipeline.video.pyav_backend import DecodeCounts, shown_frames
from pipeline.video.ranges import why_whole

_PROCESS = "pipeline.video.stills:main"
_PATIENCE_SECONDS = 120.0


def stills(
    path: Path, times: Sequence[float], *, height: int, frame_rate: Fraction | None = None
) -> list[NDArray[np.uint8]]:
    """Return the pictures that a player shows at some times, each uint8 [height, W, 3], RGB, upright.

    Decoding begins at the key frame before each time, or where that is not safe, at the beginning.

    Args:
        times: seconds of the video's own clock; a time after the end shows the last frame.
        height: of the pictures in pixels; W keeps the aspect ratio.
        frame_rate: pictures a second, if the path is a folder of numbered pictures.

    Raises:
        VideoError: the video cannot be decoded there.
    """
    info = probe_any(path, frame_rate)
    shown_height, shown_width = info.display_size
    width = max(1, round(height * shown_width / shown_height))
    whole = Geometry(height, width, 0, 0, max(height, width), info.rotation, info.mirrored)
    return [_still(info, whole, max(0.0, time)) for time in times]


def stills_helper() -> Helper:
    """Return a process that takes stills, for `ask_for_stills`; a context manager."""
    return Helper(_PROCESS, patience_seconds=_PATIENCE_SECONDS)


def ask_for_stills(
    helper: Helper, path: Path, times: Sequence[float], *, height: int, frame_rate: Fraction | None = None
) -> list[NDArray[np.uint8]]:
    """Return what `stills` returns, from another process.

    Raises:
        VideoError: the video cannot be decoded there; crashed or timeout.
    """
    helper.ask("stills", str(path), list(times), height, None if frame_rate is None else str(frame_rate))
    pictures = []
    for _ in times:
        message = helper.answer("still")
        with helper.distrusted():
            pictures.append(np.frombuffer(message.ticks, np.uint8).reshape(message.values))
    return pictures


def main() -> None:
    """Run the process that takes stills."""
    serve(_answer)


def _answer(line: Line, message: Message) -> None:
    path, times, height, rate = message.values
    for picture in stills(Path(path), times, height=height, frame_rate=None if rate is None else Fraction(rate)):
        line.send("still", *picture.shape, ticks=picture.tobytes())


def _still(info: VideoInfo, geometry: Geometry, time: float) -> NDArray[np.uint8]:
    tick = min(tick_of(exact(time), info.time_base), info.timestamps[-1] - info.timestamps[0])
    for frame in shown_frames(info, geometry, DecodeCounts(), entry=_entry(info, tick)):
        if frame.end is None or frame.end > tick:
            return np.ascontiguousarray(frame.picture())
    raise VideoError("decode_error", f"no frame is shown at {time:.3f} s")


def _entry(info: VideoInfo, tick: int) -> int:
    """Return the frame at which to begin, for one that is shown at `tick` after the first."""
    place = bisect_right(info.entries, info.timestamps[0] + tick) - 1
    if place < 0 or (info.format != FRAME_FOLDER and why_whole(info) is not None):
        return 0
    return bisect_right(info.timestamps, info.entries[place]) - 1

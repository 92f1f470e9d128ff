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
from pipeline.video.metadata import VideoInfo
from pipeline.video.pictures import Geometry
from pipeline.video.pyav_backend import DecodeCounts, shown_frames
from pipeline.video.ranges import why_whole


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

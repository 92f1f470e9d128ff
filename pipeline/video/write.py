"""Write videos, for synthetic and stitched data sets."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np


def write_video(path: Path, frames: Iterator[np.ndarray], *, height: int, width: int, fps: Fraction) -> None:
    """Write pictures as an MP4 video without sound: H.264 if the installed FFmpeg has x264, else MPEG-4 part 2.

    Args:
        path: any name; the container is MP4 for every suffix.
        frames: uint8 [H, W, 3] RGB, one after another, each shown for `1 / fps` seconds.
    """
    x264 = "libx264" in av.codecs_available
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("libx264" if x264 else "mpeg4", rate=fps)
        stream.height, stream.width, stream.pix_fmt = height, width, "yuv420p"
        stream.thread_count = 1  # videos are made in parallel, and one thread gives the same bytes everywhere
        if x264:
            stream.options = {"preset": "ultrafast", "crf": "20"}
        else:
            stream.bit_rate = height * width * 30
        for number, picture in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = number, 1 / fps
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))

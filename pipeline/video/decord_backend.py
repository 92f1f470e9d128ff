"""Decode with decord, on request. It shares no code with PyAV at run time; it bundles FFmpeg 4.1.

Its `next` never waits: while the decoding thread works, or has no core, the loop pushes packet after packet. So decord
takes several times the processor time of PyAV when cores are scarce, and decodes far ahead, up to the whole video. No
setting changes this. Its forks do the same.
"""

from __future__ import annotations

import importlib.util
import os
import re
from collections.abc import Callable, Generator
from itertools import islice
from operator import eq
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.video.errors import VideoError
from pipeline.video.metadata import Progress, VideoInfo, no_progress
from pipeline.video.pictures import Geometry
from pipeline.video.pyav_backend import DecodeCounts, TimedFrame

_CODECS = frozenset(("h264", "hevc", "mpeg4", "h263", "mpeg1video", "mpeg2video", "vp9"))
_FORMATS = frozenset(("mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm", "avi"))
# At the end of a file decord asks its own thread this often for the last frames, without waiting. By default it asks
# 10,240 times: too few where that thread has no core for some milliseconds.
_ASK_AT_END = 10_000_000
_WHERE_AND_WHEN = re.compile(r"\[\d\d:\d\d:\d\d\] \S+:\d+: ")  # removed, so that equal runs give equal messages


def is_installed() -> bool:
    return importlib.util.find_spec("decord") is not None


def version() -> str:
    import decord

    return str(decord.__version__)


def why_wrong(info: VideoInfo) -> str | None:
    """Return why decord fails on this video or shows other frames than a player; None if it is exact."""
    unordered = "frames are reordered and the container stores no presentation times"
    reasons = (
        (info.codec not in _CODECS, f"codec {info.codec}"),
        (info.format not in _FORMATS, f"container {info.format}"),
        (info.num_video_streams > 1, "several video streams"),
        (info.claimed_frames not in (0, info.num_frames), "the container claims another number of frames"),
        (info.discarded > 0, "an edit list hides packets"),
        (info.format == "avi" and info.reordered, unordered),
        (not info.clean_start, "does not start with a key frame"),
        (any(map(eq, info.timestamps, islice(info.timestamps, 1, None))), "two frames have one timestamp"),
        (not info.constant_rate, "variable frame rate"),  # after skipped frames it shows others than it claims
        # It ignores mirroring, and rotates pictures whose display matrix is degenerate.
        (info.rotation != 0, f"rotated by {info.rotation} degrees"),
        (info.mirrored, "mirrored"),
        (not info.upright, "a display matrix"),
    )
    return next((words for applies, words in reasons if applies), None)


def shown_frames(
    info: VideoInfo,
    geometry: Geometry,
    counts: DecodeCounts,
    *,
    progress: Progress = no_progress,
    entry: int = 0,
) -> Generator[TimedFrame, None, None]:
    """Yield the frames of a video in display order; skip those whose picture is not requested.

    Args:
        entry: the frame to begin with, one of `info.entries` or 0.

    Raises:
        VideoError: decode_error, if decord cannot read the file or shows other frames than the probe found.
    """
    reader = _open(info, geometry)
    first = counts.first_tick = info.timestamps[0]
    skipped = 0
    taken: list[bool] = []
    held: list[NDArray[np.uint8]] = []  # the first frame after a seek

    def picture() -> NDArray[np.uint8]:
        taken.append(True)
        if held:
            return geometry.crop(held.pop())
        if skipped:
            _call(lambda: reader.skip_frames(skipped))
        array: NDArray[np.uint8] = _call(lambda: reader.next().asnumpy())
        return geometry.crop(array)

    if entry:
        _seek(reader, entry)
        # decord does not skip the first frame after a seek: take it, needed or not.
        held.append(_call(lambda: reader.next().asnumpy()))
    for index in range(entry, info.num_frames):
        progress()
        tick = info.timestamps[index]
        last = index + 1 == info.num_frames
        taken.clear()
        yield TimedFrame(tick - first, None if last else info.timestamps[index + 1] - first, picture)
        skipped = 0 if taken or held else skipped + 1
        held.clear()
        counts.decoded += 1


def _open(info: VideoInfo, geometry: Geometry) -> Any:
    import decord

    wrong = why_wrong(info)
    if geometry.interpolation != "bilinear":
        wrong = f"the encoder's frames are scaled {geometry.interpolation}, decord's bilinear"
    if wrong:
        raise VideoError("decode_error", f"decord is not exact here ({wrong}); use decoder 'auto' or 'pyav'")
    os.environ["DECORD_EOF_RETRY_MAX"] = str(_ASK_AT_END)
    # At this level decord's FFmpeg reports all damage that it conceals; at ERROR it hides some.
    decord.logging.set_level(decord.logging.INFO)
    url = str(info.path.absolute())
    reader = _call(lambda: decord.VideoReader(url, width=geometry.width, height=geometry.height, num_threads=1))
    if len(reader) != info.num_frames:
        raise VideoError("decode_error", f"decord sees {len(reader)} frames, the container holds {info.num_frames}")
    seconds = np.asarray(_call(lambda: reader.get_frame_timestamp(range(len(reader)))), dtype=np.float64)[:, 0]
    ticks = np.frombuffer(info.timestamps, dtype=np.int64)
    expected = (ticks - ticks[0]) * float(info.time_base)
    # AVI stores no presentation times to compare with.
    if info.format != "avi" and np.abs(seconds - seconds[0] - expected).max() > 0.5 / float(info.fps):
        raise VideoError("decode_error", "decord shows frames at other times than the container says")
    return reader


def _seek(reader: Any, frame: int) -> None:
    """Make a key frame the next frame."""
    if frame not in _call(reader.get_key_indices):
        raise VideoError("decode_error", f"decord sees no key frame in frame {frame}")
    _call(lambda: reader.seek_accurate(frame))


def _call(function: Callable[[], Any]) -> Any:
    """Return the result of a call into decord; turn its many error types into one."""
    import decord

    try:
        return function()
    except (decord.DECORDError, RuntimeError, StopIteration, IndexError, AssertionError) as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        words = _WHERE_AND_WHEN.sub("", lines[0]) if lines else type(error).__name__
        raise VideoError("decode_error", f"decord: {words}") from None

"""Snippets of a source that goes on: a camera's stream, a webcam, or a file that another program still writes.

Frames are chosen by their times, as in a finished file. One window of pictures is held, whatever the length.
"""

from __future__ import annotations

import stat
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import IO, Any

import av
import av.error
import numpy as np
from numpy.typing import NDArray

from pipeline.errors import PipelineError
from pipeline.snippets import SnippetPlan
from pipeline.video.container import FORMATS, message_of
from pipeline.video.errors import VideoError
from pipeline.video.orientation import orientation_of
from pipeline.video.pictures import Framing, Geometry, Scaler
from pipeline.video.schedule import Schedule

_POLL_SECONDS = 0.1
_NETWORK_SECONDS = 15.0  # without an answer
_STREAMS = ("rtsp://", "rtsps://")


@dataclass(frozen=True)
class LiveSnippet:
    """One snippet: uint8 [F, H, W, 3], RGB, and its row since the source was opened."""

    row: int
    frames: NDArray[np.uint8]


class GrowingFile:
    """A file that is read while it grows; it ends after `idle_seconds` without a new byte."""

    def __init__(self, path: Path, idle_seconds: float) -> None:
        self._file: IO[bytes] = path.open("rb")
        self._idle = idle_seconds

    def read(self, size: int = -1) -> bytes:
        """Return the next bytes, at most `size`; wait for them."""
        deadline = time.monotonic() + self._idle
        while not (data := self._file.read(size)):
            if time.monotonic() > deadline:
                return b""
            time.sleep(_POLL_SECONDS)
        return data

    def close(self) -> None:
        self._file.close()


def is_endless(source: str) -> bool:
    """Return whether a source is connected to again when it ends: a network stream or a device.

    Raises:
        PipelineError: it is no stream, device or file.
    """
    if source.lower().startswith(_STREAMS):
        return True
    path = Path(source)
    if "://" in source or not path.exists():
        raise PipelineError(f"live: no such source: {source}; give rtsp://…, a webcam such as /dev/video0, or a file")
    mode = path.stat().st_mode
    if not (stat.S_ISCHR(mode) or stat.S_ISREG(mode)):
        raise PipelineError(f"live: {source} is no regular file and no device")
    return stat.S_ISCHR(mode)


def open_live(source: str, *, idle_seconds: float) -> Any:
    """Open a live source.

    Raises:
        VideoError: unreadable.
    """
    try:
        if source.lower().startswith(_STREAMS):
            return av.open(source, options={"rtsp_transport": "tcp"}, timeout=_NETWORK_SECONDS)
        if is_endless(source):
            return av.open(source, format="v4l2")
        return av.open(GrowingFile(Path(source), idle_seconds), options={"format_whitelist": FORMATS})
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise VideoError("unreadable", message_of(error)) from None


def live_snippets(
    container: Any, plan: SnippetPlan, spec: Framing, *, on_frame: Callable[[float], None] = lambda seconds: None
) -> Iterator[LiveSnippet]:
    """Yield the snippets of an opened source, each when its last frame has ended; close the source at the end.

    Args:
        plan: with a rate of its own.
        on_frame: called with the seconds of each frame since the first, and at last with the duration.

    Raises:
        VideoError: no_video_stream, or decode_error if the source breaks.
    """
    try:
        if not container.streams.video:
            raise VideoError("no_video_stream", "the source has no pictures")
        stream = container.streams.best("video")
        stream.codec_context.thread_count = 1
        yield from _Cutter(plan, spec, Fraction(stream.time_base)).snippets(_frames(container, stream), on_frame)
    finally:
        container.close()


def _frames(container: Any, stream: Any) -> Iterator[tuple[int, Any]]:
    """Yield ticks and frames, ascending; skip damaged packets."""
    last: int | None = None
    try:
        for packet in container.demux(stream):
            try:
                frames = packet.decode()
            except av.error.FFmpegError:
                continue
            for frame in frames:
                if frame.pts is not None and (last is None or frame.pts > last):
                    last = frame.pts
                    yield last, frame
    except (av.error.FFmpegError, OSError) as error:
        raise VideoError("decode_error", message_of(error)) from None


class _Cutter:
    """Cuts frames into snippets; holds the pictures that an unfinished snippet needs."""

    def __init__(self, plan: SnippetPlan, spec: Framing, time_base: Fraction) -> None:
        self._plan, self._spec, self._time_base = plan, spec, time_base
        self._schedule = Schedule(plan, time_base)
        self._pictures: dict[int, NDArray[np.uint8]] = {}
        self._scaler: Scaler | None = None

    def snippets(self, frames: Iterator[tuple[int, Any]], on_frame: Callable[[float], None]) -> Iterator[LiveSnippet]:
        before: tuple[int, Any] | None = None
        first = step = 0
        for tick, frame in frames:
            if before is None:
                first = tick
            else:
                step = tick - before[0]
                yield from self._advance(before[0] - first, tick - first, before[1], None)
            on_frame(float((tick - first) * self._time_base))
            before = (tick, frame)
        if before is not None:
            start = before[0] - first
            step = step or max(1, round(1 / (self._plan.rate * self._time_base)))
            rows = self._plan.count((start + step) * self._time_base)
            on_frame(float((start + step) * self._time_base))
            yield from self._advance(start, None, before[1], rows)

    def _advance(self, start: int, end: int | None, frame: Any, rows: int | None) -> Iterator[LiveSnippet]:
        ordinal = self._schedule.kept
        needed, done = self._schedule.advance(start, end, rows=rows)
        if needed:
            self._pictures[ordinal] = self._picture(frame)
        for snippet in done:
            yield LiveSnippet(snippet.row, np.stack([self._pictures[ordinal] for ordinal in snippet.ordinals]))
        for old in [ordinal for ordinal in self._pictures if ordinal < self._schedule.oldest]:
            del self._pictures[old]

    def _picture(self, frame: Any) -> NDArray[np.uint8]:
        if self._scaler is None:
            turn = orientation_of(frame)
            shown = (frame.width, frame.height) if turn.rotation in (90, 270) else (frame.height, frame.width)
            size = self._spec.resized(*shown)
            box = self._spec.crop_box(*size)
            self._scaler = Scaler(Geometry(*size, *box, turn.rotation, turn.mirrored, self._spec.interpolation))
        return np.ascontiguousarray(self._scaler.picture(frame))

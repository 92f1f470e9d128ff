"""Snippets of a source that goes on: a camera's stream, a webcam, or a file or pipe that another program writes.

Frames are chosen by their times, as in a finished file. One window of pictures is held, whatever the length.
"""

from __future__ import annotations

import io
import os
import stat
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.error
import numpy as np
from numpy.typing import NDArray

from pipeline.errors import PipelineError
from pipeline.snippets import SnippetPlan
from pipeline.video.container import FORMATS, OLD_PYAV, message_of
from pipeline.video.errors import VideoError
from pipeline.video.orientation import orientation_of
from pipeline.video.pictures import Framing, Geometry, Scaler
from pipeline.video.schedule import Schedule

_POLL_SECONDS = 0.1
_NETWORK_SECONDS = 15.0  # without an answer
_RTSP, _WEB = ("rtsp://", "rtsps://"), ("http://", "https://")
_WEB_OPTIONS = {"format_whitelist": FORMATS, "protocol_whitelist": "http,https,httpproxy,tcp,tls"}


@dataclass(frozen=True)
class LiveSnippet:
    """One snippet: uint8 [F, H, W, 3], RGB, and its row since the source was opened."""

    row: int
    frames: NDArray[np.uint8]


class GrowingFile:
    """A file or a pipe that is read while another program writes it; it ends after `idle_seconds` without a new byte.

    Attributes:
        begun: whether there has been a byte.
    """

    def __init__(self, path: Path, idle_seconds: float) -> None:
        # Without waiting for a pipe's writer, and without waiting until a buffer is full.
        self._file = io.FileIO(path, opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK))
        self._idle = idle_seconds
        self.begun = False

    def read(self, size: int = -1) -> bytes:
        """Return the next bytes, at most `size`; wait for them."""
        deadline = time.monotonic() + self._idle
        while not (data := self._file.read(size)):
            if time.monotonic() > deadline:
                return b""
            time.sleep(_POLL_SECONDS)
        self.begun = True
        return data

    def close(self) -> None:
        self._file.close()


def is_endless(source: str) -> bool:
    """Return whether a source is connected to again when it ends: a network stream or a device.

    Raises:
        PipelineError: it is no stream, device, file or pipe.
    """
    if source.lower().startswith((*_RTSP, *_WEB)):
        return True
    path = Path(source)
    if "://" in source or not path.exists():
        raise PipelineError(
            f"live: no such source: {without_password(source)}; give rtsp://…, http://…, a webcam such as "
            "/dev/video0, or a file"
        )
    mode = path.stat().st_mode
    if not (stat.S_ISCHR(mode) or stat.S_ISREG(mode) or stat.S_ISFIFO(mode)):
        raise PipelineError(f"live: {source} is no file, pipe or device")
    return stat.S_ISCHR(mode)


def without_password(source: str) -> str:
    """Return a source as it may be shown and stored: an address without a user's name and password."""
    scheme, separator, rest = source.partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}://{host.rpartition('@')[2]}{slash}{path}" if separator else source


def open_live(source: str, *, idle_seconds: float) -> Any:
    """Open a live source.

    Raises:
        VideoError: unreadable; refused_container for what will never be a stream of a known form.
    """
    file: GrowingFile | None = None
    web = source.lower().startswith(_WEB)
    try:
        if source.lower().startswith(_RTSP):
            return av.open(source, **OLD_PYAV, options={"rtsp_transport": "tcp"}, timeout=_NETWORK_SECONDS)
        if web:
            return _without_length(av.open(source, **OLD_PYAV, options=_WEB_OPTIONS, timeout=_NETWORK_SECONDS))
        if is_endless(source):
            return av.open(source, format="v4l2")
        file = GrowingFile(Path(source), idle_seconds)
        return av.open(file, **OLD_PYAV, options={"format_whitelist": FORMATS})
    except (av.error.FFmpegError, OSError, ValueError) as error:
        if file is not None and not file.begun:
            raise VideoError("unreadable", f"nothing was written to it for {idle_seconds:g} s") from None
        if web and isinstance(error, av.error.ArgumentError):  # FFmpeg's answer to a format that is not listed
            raise VideoError("refused_container", "playlists and pictures are not read; give MPEG-TS") from None
        raise VideoError("unreadable", message_of(error)) from None


def _without_length(container: Any) -> Any:
    """Return a stream; refuse a file, which would be read again and again."""
    if (container.size or 0) > 0:  # PyAV 19 says None where there is no length, before a number below 0
        container.close()
        raise VideoError("refused_container", "it is a file, not a stream; download it")
    return container


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
        broken: VideoError | None = None
        try:
            for tick, frame in frames:
                if before is None:
                    first = tick
                else:
                    step = tick - before[0]
                    yield from self._advance(before[0] - first, tick - first, before[1], None)
                on_frame(float((tick - first) * self._time_base))
                before = (tick, frame)
        except VideoError as error:  # what came before it is as good as a source that has ended
            broken = error
        if before is not None:
            start = before[0] - first
            step = step or max(1, round(1 / (self._plan.rate * self._time_base)))
            rows = self._plan.count((start + step) * self._time_base)
            on_frame(float((start + step) * self._time_base))
            yield from self._advance(start, None, before[1], rows)
        if broken is not None:
            raise broken

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

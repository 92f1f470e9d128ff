"""The audio of a video in windows of 16-bit samples, on the clock of its pictures; silence where there is none."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av
import av.error
import numpy as np
from numpy.typing import NDArray

from pipeline.snippets import SnippetPlan
from pipeline.video.clock import Clock
from pipeline.video.container import message_of, open_container, packets_of
from pipeline.video.frame_folder import FORMAT as FRAME_FOLDER
from pipeline.video.metadata import Progress, VideoInfo, no_progress

# Containers round times, to a millisecond or more. A larger step is a gap, or a restart.
SILENCE = "its rows are silence"  # the end of notes on videos without audio
_SLACK_SECONDS = Fraction(1, 25)

Piece = tuple[int, NDArray[np.int16]]  # place of its first sample, counted from the first picture; the samples


@dataclass(frozen=True)
class AudioSettings:
    """How the audio of videos is cut.

    Args:
        rate: samples a second.
        alone: whether no pictures are wanted.
    """

    rate: int
    alone: bool

    def samples(self, plan: SnippetPlan) -> int:
        """Return N, the number of samples in the window of a snippet."""
        return round(plan.window_seconds * self.rate)

    def first_sample(self, plan: SnippetPlan, row: int) -> int:
        """Return the place of a window's first sample: at the start of the snippet, counted from the first picture."""
        return round(row * plan.stride_seconds * self.rate)


class AudioTrack:
    """The audio of one video, decoded from front to back; holds one window.

    It is the stream that a player chooses, mixed to one channel. A damaged packet is silent. Make it before the
    decoding of pictures begins: opening a file changes FFmpeg's log, which threads of other decoders use.

    Args:
        info: the result of `pipeline.video.metadata.probe`.
        rate: samples a second.
        progress: called often while work goes on.
    """

    def __init__(self, info: VideoInfo, rate: int, *, progress: Progress = no_progress) -> None:
        self._rate, self._start, self._format, self._progress = rate, info.start, info.format, progress
        self._held: deque[Piece] = deque()
        self._reach: int | None = 0  # end of the samples that are decoded; None: no more will come
        self._refused, self._words = 0, ""
        self._container, self._stream, self._problem = _open(info)
        self._pieces = self._decoded()

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should know about the audio."""
        damaged = f"audio: {self._refused} packets refused, silent here: {self._words}"
        return tuple(note for note in (self._problem, damaged if self._refused else "") if note)

    def close(self) -> None:
        self._pieces.close()
        if self._container is not None:
            self._container.close()

    def window(self, first: int, count: int) -> NDArray[np.int16]:
        """Return the samples of a window, int16 [count]; windows come in the order of their starts.

        Args:
            first: place of its first sample, counted from the first picture.
        """
        while self._held and self._held[0][0] + len(self._held[0][1]) <= first:
            self._held.popleft()
        while self._reach is not None and self._reach < first + count:
            piece = next(self._pieces, None)
            if piece is None:
                self._reach = None
            else:
                self._reach = max(self._reach, piece[0] + len(piece[1]))
                if self._reach > first:
                    self._held.append(piece)
        samples = np.zeros(count, np.int16)
        for start, piece_samples in self._held:
            begin, end = max(start, first), min(start + len(piece_samples), first + count)
            if begin < end:
                samples[begin - first : end - first] = piece_samples[begin - start : end - start]
        return samples

    def _decoded(self) -> Generator[Piece, None, None]:
        """Yield the samples in pieces; begin anew where the times leap or the form of the samples changes."""
        run: _Run | None = None
        for frame in self._frames():
            if frame.pts is None or not frame.sample_rate:
                continue
            at = frame.pts * Fraction(frame.time_base) - self._start
            if run is None or not run.continues(frame, at):
                if run is not None:
                    yield from run.end()
                run = _Run(frame, at, self._rate)
            yield from run.add(frame)
        if run is not None:
            yield from run.end()

    def _frames(self) -> Iterator[Any]:
        if self._stream is None:
            return
        clock = Clock(self._format, Fraction(self._stream.time_base))
        packets = packets_of(self._container, self._stream)
        while True:
            try:
                packet = next(packets, None)
                ready = clock.rest() if packet is None else clock.take(packet)
            except av.error.FFmpegError as error:  # as at the end of the file
                self._words = self._words or message_of(error)
                packet, ready = None, clock.rest()
            for one in ready:
                self._progress()
                try:
                    yield from one.decode()
                except av.error.EOFError:
                    continue
                except (av.error.FFmpegError, ValueError) as error:
                    self._refused += 1
                    self._words = self._words or message_of(error)
            if packet is None:
                return


def _open(info: VideoInfo) -> tuple[Any, Any, str]:
    """Return the container, its stream of audio, and why there is none."""
    if info.format == FRAME_FOLDER:
        return None, None, f"a folder of pictures has no audio: {SILENCE}"
    container, _ = open_container(info.path)
    stream = container.streams.best("audio")
    if stream is None:
        return container, None, f"no audio: {SILENCE}"
    if stream.codec_context is None:
        return container, None, f"no decoder for its audio: {SILENCE}"
    stream.codec_context.thread_count = 1
    return container, stream, ""


class _Run:
    """Frames of one form without a gap, resampled to one channel."""

    def __init__(self, frame: Any, at: Fraction, rate: int) -> None:
        self._form = _form(frame)
        self._at, self._taken = at, 0  # start in seconds; samples taken, at their own rate
        self._first, self._given = round(at * rate), 0  # place of the first sample; samples given, at the new rate
        self._resampler = av.AudioResampler(format="s16", layout="mono", rate=rate)

    def continues(self, frame: Any, at: Fraction) -> bool:
        """Return whether a frame at `at` seconds goes on where the last one ended."""
        end = self._at + Fraction(self._taken, frame.sample_rate)
        return _form(frame) == self._form and abs(at - end) <= _SLACK_SECONDS

    def add(self, frame: Any) -> Iterator[Piece]:
        self._taken += frame.samples
        frame.pts = None  # the place follows from the count
        yield from self._placed(self._resampler.resample(frame))

    def end(self) -> Iterator[Piece]:
        yield from self._placed(self._resampler.resample(None))

    def _placed(self, frames: list[Any]) -> Iterator[Piece]:
        for frame in frames:
            samples = frame.to_ndarray().reshape(-1)
            yield self._first + self._given, samples
            self._given += len(samples)


def _form(frame: Any) -> tuple[Any, ...]:
    return frame.sample_rate, frame.format.name, frame.layout.name

"""Decode one video from front to back into the frames that its snippets need."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pipeline.snippets import SnippetPlan
from pipeline.text.plain import counted
from pipeline.video import decord_backend, pyav_backend, torchcodec_backend
from pipeline.video.errors import VideoError
from pipeline.video.metadata import Progress, VideoInfo, no_progress
from pipeline.video.pictures import Framing, Geometry
from pipeline.video.pyav_backend import DecodeCounts, TimedFrame
from pipeline.video.ranges import Part, as_announced
from pipeline.video.report import DecodeReport, refuse_truncated, rows_in
from pipeline.video.schedule import Schedule, SnippetFrames

# The last is torchcodec with the decoders of an NVIDIA card: `--decoder torchcodec --decode-device cuda`.
Decoder = Literal["auto", "decord", "pyav", "torchcodec", "torchcodec:cuda"]
DECODERS: tuple[Decoder, ...] = ("auto", "decord", "pyav", "torchcodec", "torchcodec:cuda")

FRAMES_PER_CHUNK = 4  # few, so that scaled pictures are still in the cache when they are used
_SNIPPETS_PER_CHUNK = 64  # a frame that is shown for hours completes thousands of snippets at once


@dataclass(frozen=True)
class Chunk:
    """Frames that snippets need, each once, and the snippets that they complete.

    Args:
        first_ordinal: ordinal of the first of these frames among the video's kept frames.
        frames: n times uint8 [H, W, 3], RGB, possibly views; n may be 0.
        snippets: the snippets that this chunk completes, rows ascending; their ordinals may lie in earlier chunks.
        keep_from: no later snippet needs a frame with a smaller ordinal.
    """

    first_ordinal: int
    frames: tuple[NDArray[np.uint8], ...]
    snippets: tuple[SnippetFrames, ...]
    keep_from: int


@dataclass(frozen=True)
class Backend:
    """What decodes, and what it says.

    Args:
        decoder: "auto" is PyAV: decord keeps a core busy while it waits, and reads ahead without bound.
        stderr: returns what decord or torchcodec has written about `info.codec` to this process's standard error since
            the start of the video; they report damage nowhere else.
    """

    decoder: Decoder = "auto"
    stderr: Callable[[], str] = lambda: ""


def decode(
    info: VideoInfo,
    plan: SnippetPlan,
    spec: Framing,
    *,
    backend: Backend = Backend(),
    progress: Progress = no_progress,
    part: Part | None = None,
) -> Iterator[Chunk | DecodeReport]:
    """Yield the frames and snippets of a video in chunks, then a report; one sequential pass that never seeks.

    Only frames that a snippet needs are converted, scaled and cropped, each once.

    Args:
        info: the result of `pipeline.video.metadata.probe` for the video.
        spec: the encoder's `resized` and `crop_box`.
        progress: called often while work goes on.
        part: decode only this part; its report counts its own frames.

    Raises:
        VideoError: decode_error, too_large, too_short, truncated. For a part: decode_error for anything that makes it
            differ, or could make it differ, from the same part of the whole.
    """
    refuse_truncated(info)
    run, decoder = _Run(info, plan, spec, progress, part), backend.decoder
    if decoder == "decord":
        yield from run.told("decord", decord_backend.shown_frames, backend.stderr)
    elif decoder in ("torchcodec", "torchcodec:cuda"):
        shown = partial(torchcodec_backend.shown_frames, device="cuda" if decoder.endswith("cuda") else "cpu")
        yield from run.told("torchcodec", shown, backend.stderr)
    else:
        yield from run.with_pyav("asked for" if decoder == "pyav" else "")


@dataclass(frozen=True)
class _Run:
    """One pass over a video; the parts that both backends share."""

    info: VideoInfo
    plan: SnippetPlan
    spec: Framing
    progress: Progress
    part: Part | None

    @property
    def entry(self) -> int:
        return self.part.entry if self.part is not None else 0

    def told(
        self, backend: str, shown_frames: Callable[..., Generator[TimedFrame, None, None]], stderr: Callable[[], str]
    ) -> Iterator[Chunk | DecodeReport]:
        """Decode with a backend that tells of damage on standard error alone."""
        geometry = Geometry.of(self.info, self.spec)
        counts = DecodeCounts()
        shown = shown_frames(self.info, geometry, counts, progress=self.progress, entry=self.entry)
        try:
            for item in self._chunks(shown, geometry, counts):
                if isinstance(item, _End):
                    counts.flagged = len(stderr().splitlines())  # about one line for each damaged frame
                    yield self._report(backend, "asked for", counts, item)
                else:
                    yield item
        except VideoError as error:
            # Which damage decord raises as an error is chance; its first line, after its threads have ended, is not.
            shown.close()
            words = stderr().splitlines()
            if error.kind != "decode_error" or not words:
                raise
            raise VideoError("decode_error", f"{backend} reports damage: {words[0]}") from None

    def with_pyav(self, reason: str) -> Iterator[Chunk | DecodeReport]:
        geometry = Geometry.of(self.info, self.spec)
        counts = DecodeCounts()
        shown = pyav_backend.shown_frames(self.info, geometry, counts, progress=self.progress, entry=self.entry)
        for item in self._chunks(shown, geometry, counts):
            yield self._report("pyav", reason, counts, item) if isinstance(item, _End) else item

    def _report(self, backend: str, reason: str, counts: DecodeCounts, end: _End) -> DecodeReport:
        decoded, corrupt = counts.decoded, counts.corrupt(self.info)
        if self.part is not None:
            decoded, corrupt = self.part.end_frame - self.part.first_frame, 0
        versions = {
            "decord": decord_backend.version,
            "pyav": pyav_backend.version,
            "torchcodec": torchcodec_backend.version,
        }
        return DecodeReport(
            backend=backend,
            backend_version=versions[backend](),
            backend_reason=reason,
            decoded_frames=decoded,
            corrupt_frames=corrupt,
            duration=end.duration,
            num_snippets=end.rows,
            notes=_notes(self.info, counts),
            start_offset=counts.first_tick * self.info.time_base - self.info.container_start,
        )

    def _chunks(
        self, shown: Iterator[TimedFrame], geometry: Geometry, counts: DecodeCounts
    ) -> Generator[Chunk | _End, None, None]:
        part = self.part
        rows = {} if part is None else {"first_row": part.first_row, "end_row": part.end_row}
        schedule = Schedule(self.plan, self.info.time_base, **rows)
        if part is not None:
            shown = as_announced(shown, self.info, part, counts)
        pictures: list[NDArray[np.uint8]] = []
        complete: list[SnippetFrames] = []
        first = 0  # ordinal of the first of the pictures

        def chunk() -> Chunk:
            nonlocal first, pictures, complete
            made = Chunk(first, tuple(pictures), tuple(complete), schedule.oldest)
            first, pictures, complete = first + len(pictures), [], []
            return made

        end: _End | None = None
        for number, frame in enumerate(shown, start=self.entry):
            if frame.end is None:
                end = _end(frame.start, counts.first_tick, self.info, self.plan)
            needed, done = schedule.advance(frame.start, frame.end, rows=end.rows if end else None)
            if needed:
                pictures.append(frame.picture())
            for snippet in done:
                complete.append(snippet)
                if len(complete) == _SNIPPETS_PER_CHUNK:
                    yield chunk()
            if len(pictures) == FRAMES_PER_CHUNK:
                yield chunk()
            if part is not None and schedule.is_done and number + 1 >= part.end_frame:
                break
        if part is not None:
            end = _end_of_part(end, self.info, part)
        assert end is not None, "a backend gives at least one frame and marks the last"
        if pictures or complete:
            yield chunk()
        yield end


@dataclass(frozen=True)
class _End:
    """What the last frame tells: the duration in seconds, and T."""

    duration: Fraction
    rows: int


def _end(start: int, first_tick: int, info: VideoInfo, plan: SnippetPlan) -> _End:
    tick = first_tick + start
    # If frames are missing at the end, the last one stays until the next was due.
    end = info.timestamps[-1] + info.last_duration
    stop = next((t for t in info.timestamps if t > tick), end if end > tick else tick + info.last_duration)
    duration = (stop - first_tick) * info.time_base
    return _End(duration, rows_in(duration, plan))


def _end_of_part(end: _End | None, info: VideoInfo, part: Part) -> _End:
    """Return the end for the report of a part: that of the whole video, if the part reaches it."""
    if end is not None and end.rows != part.num_rows:
        raise VideoError("decode_error", f"the video has {end.rows} rows, not {part.num_rows}")
    return _End(end.duration if end is not None else info.duration, part.end_row - part.first_row)


def _notes(info: VideoInfo, counts: DecodeCounts) -> tuple[str, ...]:
    notes = list(info.notes)
    if counts.disordered:
        notes.append(f"{counted(counts.disordered, 'frame')} left out: not later than the frame before")
    if counts.refused:
        notes.append(f"{counts.refused} packets refused: {counts.words}")
    return tuple(notes)

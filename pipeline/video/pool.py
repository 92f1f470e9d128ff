"""Videos decoded side by side in processes that can be killed; snippets arrive in the main process."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.cluster.cores import usable_cores
from pipeline.errors import PipelineError
from pipeline.snippets import SnippetPlan
from pipeline.video import decord_backend
from pipeline.video.decode import DECODERS, Decoder
from pipeline.video.errors import FailureKind
from pipeline.video.flow import FlowSettings
from pipeline.video.mail import Message, wait
from pipeline.video.messages import DecodeLimits, unpack_info, unpack_report
from pipeline.video.metadata import VideoInfo
from pipeline.video.pictures import Framing
from pipeline.video.process import Job, Process
from pipeline.video.ranges import VideoRange
from pipeline.video.report import DecodeReport
from pipeline.video.videos import VideoFile

__all__ = ["DecodeLimits", "DecodePool", "Event", "Failed", "Finished", "LongVideo", "Restarted", "Snippets"]

_MOST_WORKERS = 16
_ROWS_AN_EVENT = 8
_JOBS_A_WORKER = 2  # the one at work and the next, so that a worker need not wait for the main process between them
_WORKER = "pipeline.video.worker:main"
_SECONDS_TO_START = 120.0  # loading libraries from a busy network disk is no fault of the video


@dataclass(frozen=True)
class Snippets:
    """Consecutive snippets of one video; its rows arrive in order, those of several videos interleaved.

    Args:
        first_row: row of ``frames[0]``.
        frames: uint8 [m, F, H, W, 3], RGB, m >= 1; with flow [m, F * L, H, W, 5], RGB and flow.
    """

    video: VideoFile
    first_row: int
    frames: NDArray[np.uint8]


@dataclass(frozen=True)
class Restarted:
    """The rows of a video that arrived so far are void: its decoder, on another machine, died. They come again from
    row 0.

    Of :class:`pipeline.extraction.ray_decoders.RemoteDecoders`; a pool gives none.
    """

    video: VideoFile
    reason: str


@dataclass(frozen=True)
class Finished:
    """All ``report.num_snippets`` rows of a video have arrived since its beginning or its last restart."""

    video: VideoFile
    info: VideoInfo
    report: DecodeReport


@dataclass(frozen=True)
class Failed:
    """A video is given up; rows that arrived are void."""

    video: VideoFile
    kind: FailureKind
    reason: str


@dataclass(frozen=True)
class LongVideo:
    """A :class:`pipeline.video.ranges.CuttableVideo` is longer than it may be and was not decoded."""

    video: VideoFile
    info: VideoInfo


Event = Snippets | Restarted | Finished | Failed | LongVideo


class DecodePool:
    """Decodes videos in worker processes; a context manager.

    Memory is bounded by ``workers`` times one window of frames, whatever the videos' number and length: a worker
    waits while its ring is full. On Linux a worker dies with the thread that started it, so ``decode`` must be
    used by one thread from its beginning to its end.

    Args:
        workers: processes; None takes one less than there are cores, at most 16.
        spec: the encoder's definition (a dataclass with crop_size, resized and crop_box).
        plan: how videos are cut into snippets.
        decoder: "auto" (which is PyAV), "decord" or "pyav".
        limits: when a video is given up.
        threads: decoding threads in each worker.
        flow: how flow is estimated, for a plan with flow.
        on_pictures: told how many more pictures with flow have been made, twice a second for each worker at most.

    Raises:
        PipelineError: a setting is not accepted, decord is asked for and not installed, or (from ``decode``) a
            process cannot be started.
    """

    def __init__(
        self,
        workers: int | None,
        spec: Framing,
        plan: SnippetPlan,
        decoder: Decoder = "auto",
        limits: DecodeLimits | None = None,
        *,
        threads: int = 1,
        flow: FlowSettings | None = None,
        on_pictures: Callable[[int], None] = lambda count: None,
        entry: str = _WORKER,
    ) -> None:
        if workers is not None and workers < 1:
            raise PipelineError(f"workers must be >= 1, got {workers}")
        if threads < 1:
            raise PipelineError(f"threads must be >= 1, got {threads}")
        if decoder not in DECODERS:
            raise PipelineError(f"decoder must be one of {', '.join(DECODERS)}, got {decoder!r}")
        if decoder == "decord" and not decord_backend.is_installed():
            raise PipelineError("decoder is 'decord', which is not installed; use 'auto' or 'pyav'")
        if plan.flow != (flow is not None):
            raise PipelineError("a plan with flow needs settings of flow, and only such a plan does")
        self.workers = workers if workers is not None else default_workers()
        self._spec = spec
        self._plan = plan
        self._decoder: Decoder = decoder
        self._limits = limits or DecodeLimits()
        self._threads = threads
        self._flow = flow
        self._on_pictures = on_pictures
        self._entry = entry
        self._processes: list[Process] = []

    def __enter__(self) -> DecodePool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Kills the workers at once; what they were at is dropped."""
        while self._processes:
            self._processes.pop().kill()

    def decode(self, videos: Iterable[VideoFile | None]) -> Iterator[Event]:
        """The events of all videos; each video ends with one Finished or one Failed.

        A video begins with row 0 of its Snippets.

        The videos are asked for one by one as workers become free. A None among them means that the next is not there
        yet; it may come only while others have not ended, and is asked again then, as an iterator that has ended is. An
        iterator that is closed or abandoned kills the workers.
        """
        if self._processes:
            raise PipelineError("a pool decodes one sequence of videos at a time; exhaust or close the first")
        waiting: deque[Job] = deque()
        source = iter(videos)
        try:
            while True:
                self._hand_out(waiting, source)
                busy = [process for process in self._processes if process.jobs]
                if not busy:
                    return
                deadline = min(self._deadline(process) for process in busy)
                heard = wait([process.mail for process in busy], max(0.0, deadline - time.monotonic()))
                now = time.monotonic()
                for process in busy:
                    if process.mail in heard:
                        yield from self._hear(process, waiting)
                    if process in self._processes and now > self._deadline(process):
                        if not process.ready:
                            raise PipelineError(f"a decoder process did not start within {_SECONDS_TO_START:g} s")
                        seconds = self._limits.timeout_seconds
                        yield self._lose(process, waiting, "timeout", f"no progress for {seconds:g} s")
        finally:
            self.close()

    def _deadline(self, process: Process) -> float:
        """When a worker that stays silent is given up, on the monotonic clock."""
        patience = self._limits.timeout_seconds
        return process.last_heard + (patience if process.ready else max(patience, _SECONDS_TO_START))

    def _hand_out(self, waiting: deque[Job], source: Iterator[VideoFile | None]) -> None:
        """Gives jobs to idle workers, then to new ones, then a next one to the busy ones."""
        for room in range(1, _JOBS_A_WORKER + 1):
            while True:
                process = next((p for p in self._processes if len(p.jobs) < room), None)
                if process is None and len(self._processes) >= self.workers:
                    break
                job = waiting.popleft() if waiting else self._next_job(source)
                if job is None:
                    return
                if process is None:
                    self._processes.append(process := self._new_process())
                process.give(job)

    def _new_process(self) -> Process:
        decoder, threads, flow = self._decoder, self._threads, self._flow
        plan, limits = self._plan, self._limits
        return Process(self._spec, plan, limits, decoder=decoder, threads=threads, flow=flow, entry=self._entry)

    def _next_job(self, source: Iterator[VideoFile | None]) -> Job | None:
        video = next(source, None)
        if video is None:
            return None
        return Job(video, video.first_row if isinstance(video, VideoRange) else 0)

    def _hear(self, process: Process, waiting: deque[Job]) -> Iterator[Event]:
        """The events of one message of a worker, if all of it has arrived."""
        try:
            message = process.mail.receive()
        except (EOFError, OSError, ValueError, RecursionError):
            by_system, words = process.exit_reason()
            if not process.ready:  # no video's fault: the next process would fare no better
                raise PipelineError(f"a decoder process could not be started: {words}") from None
            yield self._lose(process, waiting, "out_of_memory" if by_system else "crashed", words)
            return
        if message is None:
            return
        process.last_heard = time.monotonic()
        try:
            yield from self._events_of(process, message)
        except (ArithmeticError, LookupError, TypeError, ValueError) as error:
            words = f"the decoder's process sent what it should not: {error!r}"
            yield self._lose(process, waiting, "crashed", words)

    def _events_of(self, process: Process, message: Message) -> Iterator[Event]:
        name, values, job = message.name, message.values, process.jobs[0]
        if name == "ready":
            process.ready = True
        elif name == "alive":
            if values[0]:
                self._on_pictures(values[0])
        elif name == "snippets":
            yield from self._snippets(process, job, *values)
        else:
            end = _end_of(job.video, message)
            process.jobs.popleft()
            yield end

    def _snippets(self, process: Process, job: Job, rows: list[Any], keep_from: int) -> Iterator[Event]:
        for start in range(0, len(rows), _ROWS_AN_EVENT):
            part = rows[start : start + _ROWS_AN_EVENT]
            if [row for row, _ in part] != list(range(job.next_row, job.next_row + len(part))):
                raise ValueError(f"rows out of order after {job.next_row}")
            job.next_row += len(part)
            frames = process.frames([ordinals for _, ordinals in part])
            if start + _ROWS_AN_EVENT >= len(rows):
                process.release(keep_from)
            yield Snippets(job.video, part[0][0], frames)
        if not rows:
            process.release(keep_from)

    def _lose(self, process: Process, waiting: deque[Job], kind: FailureKind, reason: str) -> Failed:
        """Removes a worker that died or must be killed; its current video fails, the next one waits again."""
        self._processes.remove(process)
        process.kill()
        job = process.jobs.popleft()
        waiting.extendleft(reversed(process.jobs))
        return Failed(job.video, kind, reason)


def _end_of(video: VideoFile, message: Message) -> Finished | LongVideo | Failed:
    values = message.values
    if message.name == "finished":
        return Finished(video, unpack_info(values[0], message.ticks), unpack_report(values[1]))
    if message.name == "long":
        return LongVideo(video, unpack_info(values[0], message.ticks))
    if message.name == "failed":
        return Failed(video, values[0], values[1])
    raise ValueError(f"message {message.name!r}")


def default_workers() -> int:
    """One process less than there are cores for this process (one is left for the main process), 1 to 16."""
    return min(max(1, usable_cores() - 1), _MOST_WORKERS)

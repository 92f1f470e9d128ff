"""Decode videos in parallel, in processes that can be killed; snippets arrive in the main process."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Any

import numpy as np

from pipeline.cluster.cores import usable_cores
from pipeline.errors import PipelineError
from pipeline.video import decord_backend, torchcodec_backend
from pipeline.video.decode import DECODERS
from pipeline.video.decode_settings import DecodeSettings
from pipeline.video.errors import FailureKind
from pipeline.video.events import Event, Failed, Finished, LongVideo, Snippets
from pipeline.video.mail import Message, wait
from pipeline.video.messages import unpack_info, unpack_report
from pipeline.video.process import Job, Process
from pipeline.video.ranges import VideoRange
from pipeline.video.videos import VideoFile

_MAX_WORKERS = 16
_ROWS_PER_EVENT = 8
_JOBS_PER_WORKER = 2  # the current one and the next, so that a worker does not wait for the main process between them
_WORKER = "pipeline.video.worker:main"
_SECONDS_TO_START = 120.0  # a slow load of libraries from a busy network disk is not the fault of the video


class DecodePool:
    """Decodes videos in worker processes; a context manager.

    Memory is bounded by `workers` times one window of frames, for any number and length of videos: a worker waits while
    its ring is full. On Linux a worker dies with the thread that started it, so a single thread must run `decode` from
    start to end.

    Args:
        workers: number of processes; None: one less than the cores, at most 16.
        settings: how videos are decoded and cut into snippets.
        on_pictures: called with the number of flow pictures made since the last call, at most twice a second for each
            worker.

    Raises:
        PipelineError: a setting is not accepted, a requested decoder is not installed, or (from `decode`) a process
            does not start.
    """

    def __init__(
        self,
        workers: int | None,
        settings: DecodeSettings,
        *,
        on_pictures: Callable[[int], None] = lambda count: None,
        entry: str = _WORKER,
    ) -> None:
        if workers is not None and workers < 1:
            raise PipelineError(f"workers must be >= 1, got {workers}")
        decoder = settings.decoder
        if decoder not in DECODERS:
            raise PipelineError(f"decoder must be one of {', '.join(DECODERS)}, got {decoder!r}")
        if decoder == "decord" and not decord_backend.is_installed():
            raise PipelineError("decoder is 'decord', which is not installed; use 'auto' or 'pyav'")
        if decoder in ("torchcodec", "torchcodec:cuda"):
            torchcodec_backend.require("cuda" if decoder == "torchcodec:cuda" else "cpu")
        if settings.plan.flow != (settings.flow is not None):
            raise PipelineError("give flow settings for a plan with flow, and only for such a plan")
        if settings.audio is not None and settings.plan.fps is None:
            raise PipelineError("audio needs a plan with a rate of its own")
        self.workers = workers if workers is not None else default_workers()
        self._settings = settings
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
        """Kill the workers at once and drop their work."""
        while self._processes:
            self._processes.pop().kill()

    def decode(self, videos: Iterable[VideoFile | None]) -> Iterator[Event]:
        """Decode videos; yield their events. Each video starts with row 0 and ends with one Finished or one Failed.

        Videos are taken one by one, as workers become free. A None among them means that the next is not there yet; it
        is allowed only while other videos are unfinished. After a None, or after the end of the iterator, the pool asks
        again at the next event. Closing or abandoning the returned iterator kills the workers.
        """
        if self._processes:
            raise PipelineError("a pool decodes one sequence of videos at a time; finish or close the first")
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
                        seconds = self._settings.limits.timeout_seconds
                        yield self._lose(process, waiting, "timeout", f"no progress for {seconds:g} s")
        finally:
            self.close()

    def _deadline(self, process: Process) -> float:
        """Return when a silent worker is given up, on the monotonic clock."""
        patience = self._settings.limits.timeout_seconds
        return process.last_heard + (patience if process.ready else max(patience, _SECONDS_TO_START))

    def _hand_out(self, waiting: deque[Job], source: Iterator[VideoFile | None]) -> None:
        """Give jobs to idle workers, then to new ones, then a second job to the busy ones."""
        for room in range(1, _JOBS_PER_WORKER + 1):
            while True:
                process = next((p for p in self._processes if len(p.jobs) < room), None)
                if process is None and len(self._processes) >= self.workers:
                    break
                job = waiting.popleft() if waiting else self._next_job(source)
                if job is None:
                    return
                if process is None:
                    self._processes.append(process := Process(self._settings, entry=self._entry))
                process.give(job)

    def _next_job(self, source: Iterator[VideoFile | None]) -> Job | None:
        video = next(source, None)
        if video is None:
            return None
        return Job(video, video.first_row if isinstance(video, VideoRange) else 0)

    def _hear(self, process: Process, waiting: deque[Job]) -> Iterator[Event]:
        """Yield the events of a worker's next message, if it has arrived completely."""
        try:
            message = process.mail.receive()
        except (EOFError, OSError, ValueError, RecursionError):
            by_system, words = process.exit_reason()
            if not process.ready:  # not the fault of a video: the next process would fail too
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
            yield from self._snippets(process, job, *values, samples=message.ticks)
        else:
            end = _end_of(job.video, message)
            process.jobs.popleft()
            yield end

    def _snippets(
        self, process: Process, job: Job, rows: list[Any], keep_from: int, *, samples: bytes
    ) -> Iterator[Event]:
        audio = None
        if (how := self._settings.audio) is not None:
            audio = np.frombuffer(samples, np.int16).reshape(len(rows), how.samples(self._settings.plan))
        for start in range(0, len(rows), _ROWS_PER_EVENT):
            part = rows[start : start + _ROWS_PER_EVENT]
            if [row for row, _ in part] != list(range(job.next_row, job.next_row + len(part))):
                raise ValueError(f"rows out of order after {job.next_row}")
            job.next_row += len(part)
            ordinals = np.asarray([ordinals for _, ordinals in part], dtype=np.int64)
            held = np.unique(ordinals)
            pictures = process.frames(held)
            if start + _ROWS_PER_EVENT >= len(rows):
                process.release(keep_from)
            heard = None if audio is None else audio[start : start + len(part)]
            yield Snippets(job.video, part[0][0], ordinals, held, pictures, heard)
        if not rows:
            process.release(keep_from)

    def _lose(self, process: Process, waiting: deque[Job], kind: FailureKind, reason: str) -> Failed:
        """Remove a worker that died or must be killed; fail its current video and queue the next one again."""
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
    """Return the usable cores minus one for the main process, 1 to 16."""
    return min(max(1, usable_cores() - 1), _MAX_WORKERS)

"""A decoder process: decode one video after another into a ring of frames shared with the main process.

It imports no torch, starts in a fraction of a second, and can be killed at any moment.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import re
import signal
import sys
import time
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors import PipelineError
from pipeline.snippets import SnippetPlan
from pipeline.video import torchcodec_backend
from pipeline.video.audio import AudioSettings, AudioTrack
from pipeline.video.audio_rows import rows_without_pictures
from pipeline.video.decode import Backend, Chunk, Decoder, decode
from pipeline.video.errors import VideoError
from pipeline.video.flow import FlowSettings, estimators
from pipeline.video.flow_pictures import PictureMaker, WholeFrames, flow_pictures
from pipeline.video.frame_folder import probe_any
from pipeline.video.limits import DecodeLimits
from pipeline.video.mail import Line
from pipeline.video.messages import pack_info, pack_report, unpack_info, unpack_plan, unpack_spec
from pipeline.video.metadata import VideoInfo
from pipeline.video.ranges import Part, cut, part_of
from pipeline.video.report import DecodeReport, refuse_damaged, refuse_truncated

_SECONDS_BETWEEN_SIGNS_OF_LIFE = 0.5
_STDERR = 2
_AUDIO_BYTES_PER_MESSAGE = 1 << 22
_ADDRESS = re.compile(r" @ 0x[0-9a-f]+")  # differs from run to run


def main() -> None:
    """Run a worker, with the arguments that `pipeline.video.process` passes."""
    parent, line, ring = (int(argument) for argument in sys.argv[2:5])
    die_with(parent)
    # The main process decides when a worker ends; ignore a Ctrl-C or SIGTERM to the whole group.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        Worker(Line(line), ring).run()
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return  # the main process is gone or has closed the line


def die_with(parent: int) -> None:
    """Make this process end with its parent, even if the parent is killed or this process hangs in C code."""
    if sys.platform == "linux":
        PR_SET_PDEATHSIG = 1
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    else:
        import threading

        def watch() -> None:
            while os.getppid() == parent:
                time.sleep(1.0)
            os._exit(1)

        threading.Thread(target=watch, daemon=True).start()
    if os.getppid() != parent:  # the parent died before this process could ask
        os._exit(1)


def limit_memory(growth: int) -> None:
    """Make allocations fail once the address space has grown by `growth` bytes (on Linux)."""
    if sys.platform != "linux":
        return
    import resource

    now = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + growth, now + growth))


class DecoderStderr:
    """The lines about a codec that this process's decoders have written to standard error, which is a file."""

    def __init__(self) -> None:
        os.ftruncate(_STDERR, 0)
        os.lseek(_STDERR, 0, os.SEEK_SET)
        self._mark = ""

    def about(self, codec: str) -> None:
        self._mark = f"[{codec} @"

    def __call__(self) -> str:
        size = os.fstat(_STDERR).st_size
        if size == 0:
            return ""
        text = os.pread(_STDERR, min(size, 1 << 20), 0).decode(errors="replace")
        lines = (line for line in text.splitlines() if line.startswith(self._mark))
        return _ADDRESS.sub("", "\n".join(lines))


class Worker:
    """The state of one decoder process."""

    def __init__(self, line: Line, ring: int) -> None:
        self._line = line
        settings = line.receive().values[0]
        self._plan = unpack_plan(settings["plan"])
        self._spec = unpack_spec(settings["spec"])
        self._limits = DecodeLimits(**settings["limits"])
        self._decoder: Decoder = settings["decoder"]
        shape = tuple(settings["shape"])
        self._ring = np.frombuffer(mmap.mmap(ring, int(np.prod(shape))), dtype=np.uint8).reshape(shape)
        self._jobs: deque[dict[str, Any]] = deque()
        self._written = 0  # frames, or pictures with flow, put into the ring since the process started
        self._released = 0  # of these, the number that the main process no longer needs
        self._reported_keep_from = 0  # the last `keep_from` that was sent
        self._last_sign = time.monotonic()
        self._flow = FlowSettings(**settings["flow"]) if settings["flow"] else None
        self._audio = AudioSettings(**settings["audio"]) if settings["audio"] else None
        self._track: AudioTrack | None = None  # of the current video
        self._pictures = 0  # with flow, not yet reported to the main process
        if self._flow is not None:
            self._maker = PictureMaker(estimators(self._flow), self._spec, threads=self._flow.threads)
        extra = self._flow.bytes_of_memory if self._flow is not None else 0
        if self._decoder.startswith("torchcodec"):
            torchcodec_backend.require("cpu")  # load it now: the limit counts what is added later
        if extra is not None and self._decoder != "torchcodec:cuda":  # CUDA reserves addresses without bound
            limit_memory(self._limits.memory_bytes + extra)
        line.send("ready")

    def run(self) -> None:
        """Work on jobs until the main process closes the connection."""
        while True:
            while not self._jobs:
                self._listen()
            job = self._jobs.popleft()
            try:
                self._work(job)
            except VideoError as error:
                self._line.send("failed", error.kind, error.reason)
            except MemoryError:
                limit = self._limits.memory_bytes >> 20
                self._line.send("failed", "out_of_memory", f"the decoder asked for more than {limit} MiB")

    def _listen(self) -> None:
        message = self._line.receive()
        value = message.values[0]
        if message.name == "release":
            self._released = value
        elif message.name == "job":
            if "info" in value:
                value["info"] = replace(unpack_info(value["info"], message.ticks), path=Path(value["path"]))
            self._jobs.append(value)
        else:
            raise PipelineError(f"decoder process: unknown message {message.name!r}")

    def _sign_of_life(self) -> None:
        now = time.monotonic()
        if now - self._last_sign > _SECONDS_BETWEEN_SIGNS_OF_LIFE:
            self._last_sign = now
            self._line.send("alive", self._pictures)
            self._pictures = 0

    def _picture_made(self) -> None:
        self._pictures += 1
        self._sign_of_life()

    def _work(self, job: dict[str, Any]) -> None:
        path, stderr = Path(job["path"]), DecoderStderr()
        limits = self._limits
        info = job.get("info")
        if info is None:
            bounds = {"max_pixels": limits.max_pixels, "max_seconds": limits.max_seconds}
            rate = Fraction(job["frame_rate"]) if "frame_rate" in job else None
            info = probe_any(path, rate, **bounds, progress=self._sign_of_life)
        longest = job.get("longest_seconds")
        if longest is not None and cut(info, self._plan, longest_seconds=longest):
            refuse_truncated(info)
            self._describe(info)
            return
        plan = self._plan.at(info.fps)
        stderr.about(info.codec)
        first = self._written
        part = part_of(info, plan, *job["rows"]) if "rows" in job else None
        with ExitStack() as ending:
            if self._audio is not None:
                self._track = AudioTrack(info, self._audio.rate, progress=self._sign_of_life)
                ending.callback(self._track.close)
            for item in self._items(info, plan, stderr, part):
                if isinstance(item, Chunk):
                    self._hand_over(item, first)
                else:
                    self._finish(info, item)

    def _items(
        self, info: VideoInfo, plan: SnippetPlan, stderr: DecoderStderr, part: Part | None
    ) -> Iterator[Chunk | DecodeReport]:
        if self._audio is not None and self._audio.alone:
            return rows_without_pictures(info, plan, part)
        items = decode(
            info,
            plan,
            self._spec if self._flow is None else WholeFrames(self._spec),
            backend=Backend(self._decoder, stderr),
            progress=self._sign_of_life,
            part=part,
        )
        if self._flow is None:
            return items
        return flow_pictures(items, self._plan, self._maker, progress=self._picture_made)

    def _describe(self, info: VideoInfo) -> None:
        """Send the description of a video that will be cut, instead of decoding it."""
        values, ticks = pack_info(info)
        self._line.send("long", values, ticks=ticks)

    def _hand_over(self, chunk: Chunk, first: int) -> None:
        """Put a chunk's frames into the ring, wait for room if needed, and report the snippets that they complete."""
        count = len(chunk.frames)
        # Thousands of snippets may need no room: read the messages of the main process all the same.
        while self._written + count - self._released > len(self._ring) or self._line.has_news:
            self._listen()
        for frame in chunk.frames:
            self._ring[self._written % len(self._ring)] = frame
            self._written += 1
        rows = [(s.row, [first + ordinal for ordinal in s.ordinals]) for s in chunk.snippets]
        keep_from = first + chunk.keep_from
        if self._audio is not None:
            rows = self._send_with_audio(rows)
        if rows or keep_from > self._reported_keep_from:
            self._line.send("snippets", rows, keep_from)
            self._reported_keep_from = keep_from

    def _send_with_audio(self, rows: list[tuple[int, list[int]]]) -> list[tuple[int, list[int]]]:
        """Send rows with their samples, a few at a time; return the rest: none."""
        audio, track = self._audio, self._track
        assert audio is not None and track is not None, "made with the job"
        count = audio.samples(self._plan)
        lot = max(1, _AUDIO_BYTES_PER_MESSAGE // (2 * count))
        for start in range(0, len(rows), lot):
            some = rows[start : start + lot]
            windows = [track.window(audio.first_sample(self._plan, row), count) for row, _ in some]
            self._line.send("snippets", some, self._reported_keep_from, ticks=np.stack(windows).tobytes())
        return []

    def _finish(self, info: VideoInfo, report: DecodeReport) -> None:
        refuse_damaged(info, report, max_corrupt=self._limits.max_corrupt)
        if self._track is not None:
            report = replace(report, notes=(*report.notes, *self._track.notes))
        values, ticks = pack_info(info)
        self._line.send("finished", values, pack_report(report), ticks=ticks)

"""Decode a live source in a process of its own: a crash or a hang ends the connection, not the job."""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import IO, Any

import numpy as np

from pipeline.errors import PipelineError
from pipeline.snippets import SnippetPlan
from pipeline.video.errors import VideoError
from pipeline.video.limits import DecodeLimits
from pipeline.video.live_source import LiveSnippet, live_snippets, open_live
from pipeline.video.mail import Line, Mailbox, Message, wait
from pipeline.video.messages import pack_plan, pack_spec, unpack_plan, unpack_spec
from pipeline.video.pictures import Framing
from pipeline.video.process import ending, kill, start_process
from pipeline.video.worker import die_with, limit_memory

_WORKER = "pipeline.video.live_process:main"


class LiveDecoder:
    """One connection to a live source, decoded in another process; a context manager.

    Args:
        source: as for `open_live`.
        plan: with a rate of its own.
        spec: the encoder's definition.
        idle_seconds: as for `open_live`.
        timeout_seconds: time beyond the idle one after which a silent process is given up.
        entry: what the process runs.
    """

    def __init__(
        self,
        source: str,
        plan: SnippetPlan,
        spec: Framing,
        *,
        idle_seconds: float,
        timeout_seconds: float,
        entry: str = _WORKER,
    ) -> None:
        self._patience = idle_seconds + timeout_seconds
        ours, theirs = socket.socketpair()
        self._stderr: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  (it lives as long as the process)
        try:
            self._process = start_process(entry, theirs.fileno(), stderr=self._stderr)
        finally:
            theirs.close()
        self._mail = Mailbox(ours)
        settings = {"source": source, "plan": pack_plan(plan), "spec": pack_spec(spec), "idle_seconds": idle_seconds}
        self._mail.post("settings", settings)

    def __enter__(self) -> LiveDecoder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        kill(self._process)
        self._mail.close()
        self._stderr.close()

    def open(self) -> None:
        """Wait until the source is open.

        Raises:
            VideoError: it cannot be opened; crashed or timeout.
        """
        self._next("opened")

    def snippets(self, *, on_frame: Callable[[float], None]) -> Iterator[LiveSnippet]:
        """Yield the snippets of the opened source, each when its last frame has ended.

        Args:
            on_frame: called with the seconds of each frame since the first, and at last with the duration.

        Raises:
            VideoError: as `live_snippets`; crashed or timeout.
        """
        while (message := self._next("heard", "snippet", "ended")).name != "ended":
            try:
                if message.name == "heard":
                    on_frame(float(message.values[0]))
                else:
                    row, shape = message.values
                    yield LiveSnippet(int(row), np.frombuffer(message.ticks, np.uint8).reshape(shape))
            except (LookupError, TypeError, ValueError) as error:
                raise VideoError("crashed", f"the decoder's process sent what it should not: {error!r}") from None

    def _next(self, *expected: str) -> Message:
        deadline = time.monotonic() + self._patience
        while True:
            try:
                message = self._mail.receive()
            except (EOFError, OSError, ValueError, RecursionError):
                raise VideoError("crashed", self._exit_reason()) from None
            if message is None:
                if time.monotonic() > deadline:
                    raise VideoError("timeout", f"no progress for {self._patience:g} s")
                wait([self._mail], max(0.0, deadline - time.monotonic()))
            elif message.name == "failed":
                raise VideoError(message.values[0], str(message.values[1]))
            elif message.name in expected:
                return message
            else:
                raise VideoError("crashed", f"the decoder's process sent {message.name!r:.40}")

    def _exit_reason(self) -> str:
        try:
            return ending(self._process.wait(timeout=5.0), self._stderr)
        except subprocess.TimeoutExpired:
            return "the decoder's process fell silent"


def main() -> None:
    """Run the process: decode the source that the first message names, until it ends or the main process does."""
    die_with(int(sys.argv[2]))
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):
        _serve(Line(int(sys.argv[3])))


def _serve(line: Line) -> None:
    settings: dict[str, Any] = line.receive().values[0]
    limit = DecodeLimits().memory_bytes
    limit_memory(limit)
    try:
        container = open_live(settings["source"], idle_seconds=settings["idle_seconds"])
        line.send("opened")
        plan, spec = unpack_plan(settings["plan"]), unpack_spec(settings["spec"])
        for snippet in live_snippets(container, plan, spec, on_frame=lambda seconds: line.send("heard", seconds)):
            line.send("snippet", snippet.row, snippet.frames.shape, ticks=snippet.frames.tobytes())
        line.send("ended")
    except VideoError as error:
        line.send("failed", error.kind, error.reason)
    except PipelineError as error:  # the source is gone; it was there when the job began
        line.send("failed", "unreadable", str(error))
    except MemoryError:
        line.send("failed", "out_of_memory", f"the decoder asked for more than {limit >> 20} MiB")

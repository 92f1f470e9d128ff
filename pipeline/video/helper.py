"""A process that decodes pictures for this one, on demand: a crash or a hang costs one answer, not the job."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import IO, Any, get_args

from pipeline.errors import PipelineError
from pipeline.video.errors import FailureKind, VideoError
from pipeline.video.limits import DecodeLimits
from pipeline.video.mail import Line, Mailbox, Message, wait
from pipeline.video.process import ending, kill, start_process
from pipeline.video.worker import die_with, limit_memory

_ALIVE, _FAILED = "alive", "failed"
_SECONDS_BETWEEN_SIGNS_OF_LIFE = 0.5


class Helper:
    """A helper process, started when it is first asked, and anew after it has ended; a context manager.

    Args:
        entry: "module:function", what it runs: a function that calls `serve`.
        patience_seconds: time without a message after which it is killed.
    """

    def __init__(self, entry: str, *, patience_seconds: float) -> None:
        self._entry = entry
        self._patience = patience_seconds
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Helper:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def ask(self, name: str, *values: Any) -> None:
        """Send a message of JSON values."""
        if self._process is None:
            self._start()
        self._mail.post(name, *values)

    def answer(self, *expected: str) -> Message:
        """Wait for the next message, one of these names.

        Raises:
            VideoError: what the process failed with; crashed or timeout, and the process has ended.
        """
        deadline = time.monotonic() + self._patience
        while True:
            try:
                message = self._mail.receive()
            except (EOFError, OSError, ValueError, RecursionError):
                raise self._ended("crashed", self._exit_reason()) from None
            if message is None:
                if time.monotonic() > deadline:
                    raise self._ended("timeout", f"no progress for {self._patience:g} s")
                wait([self._mail], max(0.0, deadline - time.monotonic()))
            elif message.name == _ALIVE:
                deadline = time.monotonic() + self._patience
            elif message.name == _FAILED:
                raise _failure(message.values)
            elif message.name in expected:
                return message
            else:
                raise self._ended("crashed", f"the decoder's process sent {message.name!r:.40}")

    @contextmanager
    def distrusted(self) -> Iterator[None]:
        """Read a message in this context: what it should not hold ends the process.

        Raises:
            VideoError: crashed.
        """
        try:
            yield
        except (LookupError, TypeError, ValueError) as error:
            raise self._ended("crashed", f"the decoder's process sent what it should not: {error!r}") from None

    def close(self) -> None:
        """End the process, if there is one."""
        if self._process is not None:
            kill(self._process)
            self._mail.close()
            self._stderr.close()
            self._process = None

    def _start(self) -> None:
        ours, theirs = socket.socketpair()
        self._stderr: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  (it lives as long as the process)
        try:
            self._process = start_process(self._entry, theirs.fileno(), stderr=self._stderr)
        finally:
            theirs.close()
        self._mail = Mailbox(ours)

    def _ended(self, kind: FailureKind, reason: str) -> VideoError:
        self.close()
        return VideoError(kind, reason)

    def _exit_reason(self) -> str:
        assert self._process is not None
        try:
            return ending(self._process.wait(timeout=5.0), self._stderr)
        except subprocess.TimeoutExpired:
            return "the decoder's process fell silent"


def _failure(values: Sequence[Any]) -> VideoError:
    """Return what the process failed with; its words are not trusted."""
    if len(values) != 2 or values[0] not in get_args(FailureKind):
        return VideoError("crashed", f"the decoder's process failed, with {values!r:.200}")
    return VideoError(values[0], str(values[1]))


def serve(work: Callable[[Line, Message], None]) -> None:
    """Run a helper process until the main process ends or kills it.

    Args:
        work: answers a message of the main process; an error that it raises is the answer.
    """
    die_with(int(sys.argv[2]))
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    memory_bytes = DecodeLimits().memory_bytes
    limit_memory(memory_bytes)
    line = Line(int(sys.argv[3]))
    with suppress(EOFError, BrokenPipeError, ConnectionResetError):
        while True:
            message = line.receive()
            try:
                work(line, message)
            except VideoError as error:
                line.send(_FAILED, error.kind, error.reason)
            except PipelineError as error:  # the source is gone; it was there when the job began
                line.send(_FAILED, "unreadable", str(error))
            except (BrokenPipeError, ConnectionResetError):
                raise
            except (OSError, ValueError, ArithmeticError) as error:
                line.send(_FAILED, "decode_error", str(error) or type(error).__name__)
            except MemoryError:
                line.send(_FAILED, "out_of_memory", f"the decoder asked for more than {memory_bytes >> 20} MiB")


def signs_of_life(line: Line) -> Callable[[], None]:
    """Return a function to call during long work, so that the main process does not lose patience."""
    last = time.monotonic()

    def alive() -> None:
        nonlocal last
        if time.monotonic() - last > _SECONDS_BETWEEN_SIGNS_OF_LIFE:
            last = time.monotonic()
            line.send(_ALIVE)

    return alive

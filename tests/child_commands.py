"""Commands in child processes, which tell of their steps."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pipeline.stages.extract
from pipeline import cli
from tests.faults import Step, Watch
from tests.toys import ToyEncoder, toy_store_spec

SIGNALS = (signal.SIGTERM, signal.SIGINT)


@dataclass
class Child:
    """A command in a process of its own."""

    pid: int
    output: Path  # what it prints, and what its watch has seen
    writes: int  # descriptor that tells when writing has begun, or the process is gone

    def wait_for_first_write(self) -> None:
        os.read(self.writes, 1)

    def end(self) -> int:
        """Waits; returns the exit code, negative for a signal."""
        _, status = os.waitpid(self.pid, 0)
        os.close(self.writes)
        return os.waitstatus_to_exitcode(status)

    def lines(self) -> list[str]:
        return self.output.with_suffix(".err").read_text().splitlines()

    def seen(self, what: str) -> list[str]:
        """The ``steps`` of one that has ended by itself, or what it has published ``unsynced``."""
        return json.loads(self.output.with_suffix(".json").read_text())[what]


def start(
    command: list[str], output: Path, on_step: Callable[[Step], None] = lambda step: None, *, first: str = ""
) -> Child:
    """Forks a child that runs the command with a toy encoder and a watch on its writes.

    Args:
        first: the name of the step with which writing begins; by default any step.
    """
    read, write = os.pipe()
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    pid = os.fork()
    if pid:
        os.close(write)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        return Child(pid, output, read)
    code = 70
    try:
        for descriptor, suffix in ((1, ".out"), (2, ".err")):
            os.dup2(os.open(output.with_suffix(suffix), os.O_WRONLY | os.O_CREAT | os.O_TRUNC), descriptor)

        def open_toy(config: object, **_: object) -> object:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)  # the command has put its handlers in place
            return ToyEncoder(), toy_store_spec(config)

        def at_step(step: Step) -> None:
            if step.name == first or not first:
                os.write(write, b".")
            on_step(step)

        pipeline.stages.extract.open_encoder = open_toy
        watch = Watch(at_step)
        with watch.watching():
            try:
                cli.main(command)
            except SystemExit as end:
                code = end.code
            threading._shutdown()  # what every process does at its end: waits for its threads
        output.with_suffix(".json").write_text(json.dumps({"steps": watch.names, "unsynced": watch.unsynced}))
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code)

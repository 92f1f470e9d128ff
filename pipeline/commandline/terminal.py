"""What commands print: results on standard output; notes, failures and errors on standard error. All of it plain text.

Lines are not wrapped to the terminal, so that paths and reasons stay whole for a search.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from pipeline.commandline.spelling import as_typed
from pipeline.errors import BAD_INPUT, SOME_FAILED
from pipeline.text.plain import counted, plain, plain_json

_SHOWN_FAULTS = 20


def open_missing_streams() -> None:
    """Open the null device in place of each standard stream that is closed, as after `>&-`.

    A file that is opened later would take its number, and get what is meant for the terminal.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # the lowest free number
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115  (for as long as the process lives)


def say(text: object) -> None:
    """Print a line of a result."""
    _write(sys.stdout, plain(text))


def say_stage(text: object) -> None:
    """Print what a stage of `run` did, or a note."""
    _write(sys.stdout, as_typed(plain(text)))


def say_json(value: Any, *, indent: int | None = None) -> None:
    """Print a value as JSON."""
    _write(sys.stdout, plain_json(value, indent=indent))


def say_columns(*values: object) -> None:
    """Print values on one line with tabs between them, for scripts."""
    _write(sys.stdout, "\t".join(map(plain, values)))


def show(text: str) -> None:
    """Print lines that are plain already, such as a table."""
    _write(sys.stdout, text)


def note(text: object, *, as_it_is: bool = False) -> None:
    """Print something to know, on standard error; `as_it_is` leaves names of options as they stand."""
    _write(sys.stderr, f"note: {plain(text) if as_it_is else as_typed(plain(text))}")


def complain(text: object) -> None:
    """Print on standard error why a command fails."""
    _write(sys.stderr, as_typed(plain(text)))


def hint(text: object) -> None:
    """Print a line that helps on, on standard error."""
    _write(sys.stderr, plain(text))


def say_failures(failed: Mapping[str, str]) -> int:
    """List failures and their reasons on standard error, and return the exit code."""
    for name, reason in sorted(failed.items()):
        _write(sys.stderr, f"failed: {plain(name)}: {plain(reason)}")
    return SOME_FAILED if failed else 0


def say_faults(lines: Sequence[str], end: str) -> int:
    """List the first faults of a file and their number on standard error, and return the exit code for bad input."""
    for line in lines[:_SHOWN_FAULTS]:
        _write(sys.stderr, f"fault: {as_typed(plain(line))}")
    many = f"{counted(len(lines), 'fault')}, of which {_SHOWN_FAULTS} are shown" if len(lines) > _SHOWN_FAULTS else ""
    _write(sys.stderr, f"{many or counted(len(lines), 'fault')}; {as_typed(end)}")
    return BAD_INPUT


def _write(stream: TextIO, text: str) -> None:
    try:
        stream.write(text + "\n")
        stream.flush()
    except OSError as error:
        if stream is sys.stdout and not isinstance(error, BrokenPipeError):
            raise
        # Nobody reads any more, as after `| head`, or notes have no room. Go on with the work and keep its exit code.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)

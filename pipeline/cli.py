"""The command line: run one command; turn an error into one line and an exit code."""

from __future__ import annotations

import errno
import io
import os
import signal
import sys
from collections.abc import Sequence
from typing import NoReturn

from cyclopts import CycloptsError

from pipeline.commandline.explain import explained
from pipeline.commandline.launch import bound_command
from pipeline.commandline.memory import is_lack_of_memory
from pipeline.commandline.terminal import complain, open_missing_streams
from pipeline.errors import BAD_INPUT, INTERRUPTED, SolaPipelineError

_FULL = (errno.ENOSPC, errno.EDQUOT)
_MEMORY_REMEDY = (
    "give it more memory (`ulimit -v` shows a limit), or less to do at once: smaller batches, fewer workers; what is "
    "finished is kept"
)


def main(tokens: Sequence[str] | None = None) -> NoReturn:
    """Run one command and exit with its code. An error that the user can fix is one line on standard error."""
    # Decoders and encoder share the cores: threads that spin while they wait would slow the decoders.
    # Must be set before torch is imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    open_missing_streams()
    if isinstance(sys.stdout, io.TextIOWrapper):  # names of files need not be UTF-8
        sys.stdout.reconfigure(errors="backslashreplace")
    signal.signal(signal.SIGTERM, _interrupt)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # a job in the background may ignore it
        signal.signal(signal.SIGINT, _interrupt)
    try:
        command, bound = bound_command(list(sys.argv[1:] if tokens is None else tokens))
        sys.exit(command(*bound.args, **bound.kwargs))
    except CycloptsError as error:
        _fail(f"{explained(error)} (--help shows the options)", BAD_INPUT)
    except KeyboardInterrupt:
        _fail("interrupted; what is finished is kept, and the same command goes on from there", INTERRUPTED)
    except SolaPipelineError as error:
        _fail(str(error), BAD_INPUT)
    except OSError as error:
        remedy = "; free some space and run the same command again" if error.errno in _FULL else ""
        _fail(f"{error.strerror or error}{f': {error.filename}' if error.filename else ''}{remedy}", BAD_INPUT)
    except (MemoryError, RuntimeError, ImportError) as error:
        if not is_lack_of_memory(error):
            raise
        _fail(f"out of memory ({_first_line(error)}); {_MEMORY_REMEDY}", BAD_INPUT)


class _Interrupted(KeyboardInterrupt):
    """Ctrl-C or SIGTERM.

    After a plain KeyboardInterrupt leaves code that Python ran from a string, as libraries do during import, Python
    ends itself by SIGINT, whatever the exit code.
    """


def _interrupt(*_: object) -> None:
    raise _Interrupted


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)[:200]


def _fail(message: str, code: int) -> NoReturn:
    complain(f"error: {message}" if code != INTERRUPTED else message)
    sys.exit(code)

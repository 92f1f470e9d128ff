"""Names of files that are being made: they tell whose they are, so that leftovers of killed processes are known."""

from __future__ import annotations

import os
import socket
import time
import uuid
from pathlib import Path

PARTIAL_SUFFIX = ".partial"
_ABANDONED_AFTER_SECONDS = 7 * 24 * 3600
_SHOWN_IN_PARTIAL = 60  # of a file's name in its temporary one, which also holds a host's name


def partial_name(name: str) -> str:
    """A temporary name for the file ``name`` that no other process on any host uses, and that tells its owner."""
    shown = name.encode()[:_SHOWN_IN_PARTIAL].decode(errors="ignore")
    return f".{shown}.{_here()}-{os.getpid()}-{uuid.uuid4().hex}{PARTIAL_SUFFIX}"


def is_abandoned(partial: Path) -> bool:
    """Whether nobody will finish a temporary file: its process on this host is gone, or it has lain for a week.

    A process on another host, or in another container, cannot be asked whether it lives; hence the week.
    """
    owner, _, rest = partial.name.removesuffix(PARTIAL_SUFFIX).rpartition("-")[0].rpartition("-")
    if owner.endswith(f".{_here()}") and rest.isdecimal() and os.name != "nt":  # there, signal 0 ends a process
        try:
            os.kill(int(rest), 0)
        except ProcessLookupError:
            return True
        except (OSError, OverflowError):  # it lives and belongs to somebody else, or this is no process
            return False
        return False
    try:
        return time.time() - partial.stat().st_mtime > _ABANDONED_AFTER_SECONDS
    except OSError:  # published or removed meanwhile
        return False


def _here() -> str:
    """What tells one space of process numbers from another: the host's name, and on Linux the container."""
    try:
        space = os.stat("/proc/self/ns/pid").st_ino  # noqa: PTH116  (the link's target is no path)
    except OSError:
        space = 0
    return f"{socket.gethostname()[:64]}-{space:x}"

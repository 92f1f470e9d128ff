"""Names of processes and of their temporary files, so that leftovers of killed processes can be recognized."""

from __future__ import annotations

import os
import shutil
import socket
import time
import uuid
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

PARTIAL_SUFFIX = ".partial"
_ABANDONED_AFTER_SECONDS = 7 * 24 * 3600
_SHOWN_IN_PARTIAL = 60  # bytes of a file's name in its temporary name, which also holds the host's name


def partial_name(name: str) -> str:
    """Return a temporary name for the file `name`, unique among all processes on all hosts; it tells its owner."""
    shown = name.encode("utf-8", "surrogateescape")[:_SHOWN_IN_PARTIAL].decode(errors="ignore")
    whole = f".{shown}.{this_process()}-{uuid.uuid4().hex}{PARTIAL_SUFFIX}"
    return os.fsdecode(whole.encode())  # the same bytes on the disk, whatever the locale


def is_abandoned(partial: Path) -> bool:
    """Whether nobody will finish a temporary file: its process on this host has ended, or it is a week old.

    Whether a process on another host, or in another container, is alive cannot be seen; hence the week.
    """
    owner, _, rest = partial.name.removesuffix(PARTIAL_SUFFIX).rpartition("-")[0].rpartition("-")
    ended = process_has_ended(f"{_here()}-{rest}") if owner.endswith(f".{_here()}") else None
    if ended is not None:
        return ended
    try:
        return time.time() - partial.stat().st_mtime > _ABANDONED_AFTER_SECONDS
    except OSError:  # published or removed meanwhile
        return False


def remove_abandoned(folder: Path) -> None:
    """Remove temporary files and folders that nobody will finish; those of other living processes stay."""
    for path in _partials(folder):
        if not is_abandoned(path):
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            with suppress(OSError):  # it stays on a read-only disk, and does no harm
                path.unlink(missing_ok=True)


@lru_cache(maxsize=1024)
def remove_abandoned_once(folder: Path) -> None:
    """Do `remove_abandoned`, once in the life of this process."""
    remove_abandoned(folder)


def _partials(folder: Path) -> list[Path]:
    """Return the temporary files in a folder; the other names, perhaps very many, are not kept."""
    try:
        with os.scandir(folder) as entries:
            names = [e.name for e in entries if e.name.startswith(".") and e.name.endswith(PARTIAL_SUFFIX)]
    except OSError:  # the folder does not exist yet
        return []
    return [folder / name for name in names]


def this_process() -> str:
    """Return a name for this process, unique on all hosts."""
    return f"{_here()}-{os.getpid()}"


def process_has_ended(process: str) -> bool | None:
    """Whether the process with this name, from `this_process`, has ended; None if that cannot be seen from here."""
    space, _, number = process.rpartition("-")
    if space != _here() or not number.isdecimal() or os.name == "nt":  # on Windows, signal 0 ends a process
        return None
    try:
        os.kill(int(number), 0)
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):  # it is alive and belongs to another user, or the number is no process
        return False
    return _is_unreaped(int(number))


def _is_unreaped(number: int) -> bool:
    """Whether a process has ended but keeps its number, since its parent has not waited for it."""
    try:
        state = Path(f"/proc/{number}/stat").read_bytes().rpartition(b")")[2].split()[0]
    except (OSError, IndexError):  # this system does not say
        return False
    return state in (b"Z", b"X")


def _here() -> str:
    """Return what identifies a space of process numbers: the host's name, and on Linux the container."""
    try:
        space = os.stat("/proc/self/ns/pid").st_ino  # noqa: PTH116  (the link's target is no path)
    except OSError:
        space = 0
    return f"{socket.gethostname()[:64]}-{space:x}"

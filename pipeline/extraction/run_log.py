"""The log of a job: JSON lines for scripts, one file for each process, so that no two processes share a file.

Events: `start` (number of videos, settings, process), `done` and `failed` (one for each video), `progress` (sums since
the start, every half minute), and at the end `end` or `interrupted` (the sums again).
"""

from __future__ import annotations

import json
import os
import socket
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from pipeline.storage.atomic_files import unless_read_only
from pipeline.text.plain import plain_json

ENDS = ("end", "interrupted")
PROGRESS_SECONDS = 30.0
_SILENT_SECONDS = 600.0  # a process that has logged nothing for this long was probably killed


class RunLog:
    """Appends one JSON object a line to `folder/<time>-<host>-<process>.jsonl`; each line is flushed at once.

    On a read-only disk there is no log: a finished store needs none, and writing rows fails there anyway.
    """

    def __init__(self, folder: Path) -> None:
        with unless_read_only():
            folder.mkdir(parents=True, exist_ok=True)
        started = datetime.now(timezone.utc).strftime("%Y%m%dT%H%M%SZ")
        self.path = folder / f"{started}-{socket.gethostname()}-{os.getpid()}.jsonl"
        self._last_progress = time.monotonic()

    def write(self, event: str, **fields: Any) -> None:
        """Add a line: the time (UTC), the event's name, and its fields."""
        line = {"time": datetime.now(timezone.utc).isoformat(timespec="milliseconds"), "event": event, **fields}
        # The file is opened again for each line: a video takes seconds, and the log survives any end of the process.
        with unless_read_only(), self.path.open("a", encoding="utf-8", errors="backslashreplace") as file:
            file.write(plain_json(line) + "\n")

    def write_progress(self, **fields: Any) -> None:
        """Add a `progress` line, unless there was one within the last half minute."""
        if time.monotonic() - self._last_progress >= PROGRESS_SECONDS:
            self._last_progress = time.monotonic()
            self.write("progress", **fields)

    def others_at_work(self) -> bool:
        """Return whether another process seems to be at work: its log is young and has no end."""
        return any(_is_running(path) for path in self.path.parent.glob("*.jsonl") if path != self.path)


def _is_running(log: Path) -> bool:
    try:
        if time.time() - log.stat().st_mtime > _SILENT_SECONDS:
            return False
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 4096))
            last = json.loads(file.read().splitlines()[-1])
    except (OSError, ValueError, IndexError):  # the file is gone, or another process is writing a line
        return True
    return last.get("event") not in ENDS

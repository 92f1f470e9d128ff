"""The log of one job: JSON lines that a script can read, one file for each process, so that no two write to one."""

from __future__ import annotations

import json
import os
import socket
from datetime import datetime, timezone
from pathlib import Path
from typing import Any


class RunLog:
    """Appends one JSON object a line to ``folder/<time>-<host>-<process>.jsonl``; each line is flushed at once."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        started = datetime.now(timezone.utc).strftime("%Y%m%dT%H%M%SZ")
        self.path = folder / f"{started}-{socket.gethostname()}-{os.getpid()}.jsonl"

    def write(self, event: str, **fields: Any) -> None:
        """Adds a line: the time (UTC), the event's name, and its fields."""
        line = {"time": datetime.now(timezone.utc).isoformat(timespec="milliseconds"), "event": event, **fields}
        # Opened anew for each line: a video takes seconds, and the log survives whatever ends the process.
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line, ensure_ascii=False) + "\n")

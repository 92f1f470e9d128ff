"""The record of a run: the inputs, settings and time of each stage, so that none is done twice."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any, TypedDict

from pipeline.errors import PipelineError
from pipeline.storage.atomic_files import unless_read_only, write_json
from pipeline.storage.read_files import read_json

Say = Callable[[str], None]


class StageRecord(TypedDict, total=False):
    """A stage in run.json: the hash of its inputs and settings, whether it is done, and what it says about itself."""

    given: str
    done: bool
    text: str
    seconds: float  # only if it is done
    peak_memory_megabytes_so_far: int  # only if it is done


class Stages:
    """The stages of one folder of results, recorded in its run.json."""

    def __init__(self, record_file: Path, say: Say) -> None:
        self.say = say
        self._file = record_file
        self._records: dict[str, StageRecord] = {}
        self._settings: dict[str, Any] = {}
        if record_file.exists():
            value = read_json(record_file, what="record of the run")
            if not isinstance(value, dict) or not isinstance(value.get("stages"), dict):
                raise PipelineError(f"{record_file} is not the record of a run; choose another --out")
            self._records = value["stages"]
            self._settings = value.get("settings", {})

    def describe(self, settings: dict[str, Any]) -> None:
        """Record the settings of the whole run, for readers of the record; paths become text."""
        self._settings = json.loads(json.dumps(settings, default=str))

    def do(
        self,
        name: str,
        given: Any,
        work: Callable[[], str],
        *,
        result: Path,
        clear: Callable[[], None] | None = None,
    ) -> None:
        """Do a stage, unless it has been done with the same inputs and settings.

        Args:
            name: the stage, unique in the folder.
            given: its inputs and settings as JSON values; paths count as text.
            work: does the stage; returns one line on what it did.
            result: a file that the stage leaves.
            clear: removes the results of other inputs or settings.
        """
        identity = sha256(json.dumps(given, sort_keys=True, default=str).encode()).hexdigest()
        record = self._records.get(name)
        if record and record["given"] == identity and record["done"] and result.exists():
            self.say(f"{name}: unchanged, skipped ({record['text']})")
            return
        if clear is not None and record and record["given"] != identity:
            # Until all is removed the record matches no inputs, so that the next run continues an interrupted removal.
            self._write(name, {"given": "", "done": False, "text": "interrupted"})
            clear()
        self._write(name, {"given": identity, "done": False, "text": "interrupted"})
        started = time.perf_counter()
        text = work()
        self.finish(name, text, seconds=time.perf_counter() - started, given=identity)

    def finish(self, name: str, text: str, *, seconds: float, given: str = "") -> None:
        """Record that a stage is done, and say so."""
        megabytes = peak_memory_megabytes()
        self._write(
            name,
            {
                "given": given,
                "done": True,
                "text": text,
                "seconds": round(seconds, 3),
                "peak_memory_megabytes_so_far": megabytes,
            },
        )
        self.say(f"{name}: {text} [{seconds:.1f} s, peak memory so far {megabytes:,} MB]")

    def _write(self, name: str, record: StageRecord) -> None:
        self._records[name] = record
        with unless_read_only():  # what is done needs no record, and results cannot be written there anyway
            write_json(self._file, {"settings": self._settings, "stages": self._records})


def peak_memory_megabytes() -> int:
    """Return the peak resident memory of this process so far, in MB; 0 on Windows, which does not report it."""
    if sys.platform == "win32":
        return 0
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (1e6 if sys.platform == "darwin" else 1e3))

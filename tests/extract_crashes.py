"""Crashes of `extract`: kills, signals, full disks, two runs at once; and what must hold after each."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from pipeline.store.feature_store import FeatureStore
from pipeline.store.tools.verify import verify_store
from tests import videos as make
from tests.child_commands import SIGNALS, Child, start
from tests.faults import Step, disk_full_from, input_output_error_at

LENGTHS = {"a": 10, "b": 57, "c": 133, "d": 8, "e": 260, "f": 31}  # frames at 10 a second
ALL_BUT_ONE, ENDED, INTERRUPTED = 1, 2, 130  # exit codes; 1, since one file of the folder is not a video
FAULTS = {"ENOSPC": disk_full_from, "EIO": input_output_error_at}


class CrashTest:
    """Trials on copies of one folder of videos, and their findings."""

    def __init__(self, folder: Path, chance: random.Random) -> None:
        self.folder, self.chance = folder, chance
        self.trials: Counter[str] = Counter()
        self.outcomes: Counter[tuple[str, int]] = Counter()  # (trial, how many videos were done)
        self.kills = 0
        self.violations: list[str] = []
        for name, frames in LENGTHS.items():
            make.constant(folder / "videos" / f"{name}.mp4", frames, 10)
        (folder / "videos" / "broken.mp4").write_text("this is no video")
        self.reference = self.store("reference")
        for _ in range(2):  # the first run warms caches
            shutil.rmtree(self.reference, ignore_errors=True)
            child = self.start(self.reference)
            child.wait_for_first_write()
            begun = time.monotonic()
            code = child.end()
            self.seconds = time.monotonic() - begun
            assert code == ALL_BUT_ONE, child.lines()
        self.steps = child.seen("steps")
        self.expected = self.features(self.reference)
        self.rows = {i: FeatureStore.open(self.reference).read(i).features.shape[0] for i in LENGTHS}
        if unsynced := child.seen("unsynced"):
            self.violations.append(f"published without a flush: {unsynced}")

    def store(self, name: str) -> Path:
        return self.folder / name

    def start(self, store: Path, on_step: Callable[[Step], None] = lambda step: None, *, name: str = "child") -> Child:
        command = ["extract", str(self.folder / "videos"), "--out", str(store), "--workers", "1"]
        return start(command, self.folder / name, on_step, first="open array")

    def features(self, store: Path) -> dict[str, bytes]:
        return {p.name: p.read_bytes() for p in (store / "features").iterdir()}

    # The trials.

    def kill_at_random(self, count: int) -> None:
        for number in range(count):
            child = self.start(self.store("trial"))
            if number % 5:  # most of a short run is its start, so aim four of five kills at the writing
                child.wait_for_first_write()
            time.sleep(self.chance.uniform(0, 1.05 * self.seconds))
            os.kill(child.pid, signal.SIGKILL)
            self.conclude("killed at a random moment", child.end(), child, allowed=(-signal.SIGKILL, ALL_BUT_ONE))

    def kill_at_steps(self, count: int) -> None:
        for place in self.places(count):
            torn = place[0].startswith("write") and self.chance.random() < 0.5

            def on_step(step: Step, place: tuple[str, int] = place, torn: bool = torn) -> None:
                if (step.name, step.time) == place:
                    if torn:
                        step.tear()
                    os.kill(os.getpid(), signal.SIGKILL)

            child = self.start(self.store("trial"), on_step)
            kind = "killed in the middle of" if torn else "killed before"
            self.conclude(f"{kind}: {place[0]}", child.end(), child, allowed=(-signal.SIGKILL,))

    def fail_at_steps(self, count: int) -> None:
        for error, fault in FAULTS.items():
            for place in self.places(count):
                child = self.start(self.store("trial"), fault(*place))
                self.conclude(f"{error} at: {place[0]}", child.end(), child, allowed=(ENDED, ALL_BUT_ONE))

    def signal_at_random(self, count: int) -> None:
        for which in SIGNALS:
            for _ in range(count):
                child = self.start(self.store("trial"))
                child.wait_for_first_write()
                time.sleep(self.chance.uniform(0, self.seconds))
                os.kill(child.pid, which)
                name = f"{which.name} at a random moment"
                code = child.end()
                self.conclude(name, code, child, allowed=(INTERRUPTED, ALL_BUT_ONE), clean=True)

    def two_at_once(self, count: int) -> None:
        for number in range(count):
            store = self.store("trial")
            first, second = self.start(store, name="first"), self.start(store, name="second")
            name = "two at once"
            if number % 2:
                name = "two at once, one killed"
                first.wait_for_first_write()
                time.sleep(self.chance.uniform(0, 1.5 * self.seconds))
                os.kill(first.pid, signal.SIGKILL)
            code, other = first.end(), second.end()
            if other != ALL_BUT_ONE or code not in (ALL_BUT_ONE, -signal.SIGKILL):
                self.violations.append(f"{name}: exit codes {code}, {other}: {first.lines()} {second.lines()}")
            if missing := self.expected.keys() - self.features(store).keys():
                self.violations.append(f"{name}: the other process ended without {sorted(missing)}")
            self.conclude(name, code, first, allowed=(code,))

    def places(self, count: int) -> list[tuple[str, int]]:
        """Return steps by name and occurrence: all names before any repeats, with random occurrences."""
        times = Counter(self.steps)
        names = sorted(times)
        chosen = [names[number % len(names)] for number in range(count)]
        return [(name, self.chance.randrange(times[name])) for name in chosen]

    # The checks.

    def conclude(self, name: str, code: int, child: Child, *, allowed: tuple[int, ...], clean: bool = False) -> None:
        """Check what a trial has left, run the command again, check the result, and remove the store."""
        store = self.store("trial")
        wrong = [] if code in allowed else [f"exit code {code}: {child.lines()}"]
        # A signal may come at the very end, while the command lists the failed videos.
        said = [line for line in child.lines() if not line.startswith("failed: ")]
        if code in (ENDED, INTERRUPTED) and len(said) != 1:
            wrong.append(f"not one line, but {child.lines()}")
        if clean and code == INTERRUPTED and (left := partials(store)):
            wrong.append(f"left half-written: {left}")
        done, found = self.check_left(store)
        again = self.start(store, name="again")
        if (second := again.end()) != ALL_BUT_ONE:
            wrong.append(f"the next run ended with {second}: {again.lines()}")
        wrong += found + self.check_result(store, done, again)
        self.violations += [f"{name}: {line}" for line in wrong]
        self.trials[name] += 1
        self.kills += code == -signal.SIGKILL
        self.outcomes[name.split(":")[0], len(done)] += 1
        shutil.rmtree(store, ignore_errors=True)

    def check_left(self, store: Path) -> tuple[list[str], list[str]]:
        """Return the ids that are done, and the faults of the files that an interrupted run has left."""
        if not (store / "store.json").exists():
            return [], []
        opened = FeatureStore.open(store)
        # Readers ignore temporary files, and an array without its sidecar.
        wrong = [
            f"{p.kind} {p.id}: {p.detail}"
            for p in verify_store(opened, deep=True)
            if p.kind != "leftover" and not (p.kind == "torn" and p.files == (opened.array_path(p.id),))
        ]
        for path in (opened.sidecar_path(i) for i in opened.ids()):
            for file in (path, path.with_suffix(".npy")):
                if not file.exists() or file.read_bytes() != self.expected[file.name]:
                    wrong.append(f"{file.name} is not that of the uninterrupted run")
        logged = {line["id"] for line in log_lines(store) if line["event"] == "done"}
        if lost := logged - set(opened.ids()):
            wrong.append(f"the log calls done what is not: {sorted(lost)}")
        return opened.ids(), wrong

    def check_result(self, store: Path, done: list[str], again: Child) -> list[str]:
        wrong = []
        if self.features(store) != self.expected:
            wrong.append("the final store differs from the uninterrupted one")
        if left := partials(store):
            wrong.append(f"temporary files stay: {left}")
        if (failed := FeatureStore.open(store).failed_ids()) != ["broken"]:
            wrong.append(f"failed: {failed}")
        end = [line for line in log_lines(store, process=again.pid) if line["event"] == "end"]
        rows = sum(self.rows[i] for i in self.rows.keys() - set(done))
        if [(line["done"], line["snippets"]) for line in end] != [(len(LENGTHS) - len(done), rows)]:
            wrong.append(f"{len(done)} videos were done and {rows} snippets left, the next run encoded: {end}")
        return wrong


def partials(store: Path) -> list[str]:
    return [path.name for path in store.rglob(".*.partial")]


def log_lines(store: Path, *, process: int | None = None) -> list[dict]:
    """Return the lines of the logs; the last one of a killed process may be incomplete."""
    lines = []
    for path in (store / "logs").glob("*.jsonl" if process is None else f"*-{process}.jsonl"):
        *whole, last = path.read_text().split("\n")
        lines += [json.loads(line) for line in whole]
        assert process is None or not last
    return lines

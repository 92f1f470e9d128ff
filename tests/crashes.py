"""Commands that are killed while they write, and what holds for all of them afterwards.

Every file that a killed command has left under its own name is the one of the uninterrupted command, byte for byte; the
same command then ends well, with the same files, and nothing temporary stays; once more, and it writes nothing.
"""

from __future__ import annotations

import itertools
import os
import re
import shutil
import signal
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random

import numpy as np

from pipeline import cli
from pipeline.store.tools.pack import pack
from tests import videos as make
from tests.child_commands import Child, start
from tests.faults import Step
from tests.stores import annotate, make_store

LABELS = ("Archery", "Surfing")
TINY_HEAD = [
    "--epochs",
    "3",
    "--min-steps-per-epoch",
    "2",
    "--device",
    "cpu",
    "--head.kind",
    "actionness",
    "--head.embed-dim",
    "8",
]


@dataclass(frozen=True)
class Victim:
    """A command that is killed.

    Args:
        name: of the command.
        words: the command without its --out.
        kills: its share of 500.
        passing: names of visible files that are there only until it has finished.
        varying: names of files that differ from run to run, or grow.
        again: exit code of the command when all is done.
    """

    name: str
    words: list[str]
    kills: int
    passing: str = "$^"
    varying: str = "$^"
    again: int = 0

    def content(self, out: Path) -> dict[str, bytes]:
        """The files that all runs must make alike, hidden ones too."""
        files = {path.relative_to(out).as_posix(): path for path in out.rglob("*") if path.is_file()}
        return {name: path.read_bytes() for name, path in files.items() if not re.search(self.varying, name)}

    def wrong_files(self, out: Path, expected: dict[str, bytes]) -> list[str]:
        """What a killed run has left that somebody could believe, and should not."""
        found = {name: data for name, data in self.content(out).items() if not is_hidden(name)}
        return [
            f"{name} is not that of the uninterrupted run"
            for name, data in found.items()
            if expected.get(name) != data and not re.search(self.passing, name)
        ]

    def stamps(self, out: Path) -> dict[str, tuple[int, int]]:
        """Number and time of each file that the command should not write again."""
        return {name: (stat.st_ino, stat.st_mtime_ns) for name in self.content(out) for stat in [(out / name).stat()]}


def is_hidden(name: str) -> bool:
    return any(part.startswith(".") for part in name.split("/"))


def leftovers(out: Path) -> list[str]:
    """Temporary files and folders in ``out`` and beside it, checkpoints, and all else that is hidden."""
    beside = [path.name for path in out.parent.glob(f".{out.name}.*")]
    return beside + [name for path in out.rglob("*") if is_hidden(name := path.relative_to(out).as_posix())]


def victims(folder: Path) -> list[Victim]:
    """The commands that work on what is made in ``folder``."""
    random = np.random.default_rng(0)
    rows = {f"v{n}": random.normal(size=(20 + 7 * n, 6)).astype(np.float32) for n in range(6)}
    store = make_store(folder / "features", rows)
    store.write_failure("broken", kind="corrupt", reason="made up", source={})
    make_store(folder / "more", {name: rows[name] for name in ("v0", "v1")} | {"v6": rows["v5"] + 1})
    pack(store, folder / "packed", megabytes=0.005)
    truth = _annotate(folder / "annotations.json", {name: len(array) / 2 for name, array in rows.items()})
    lengths = {"a": 80, "b": 120, "c": 100, "d": 90}
    for name, frames in lengths.items():
        make.constant(folder / "clips" / f"{name}.mp4", frames, 10)
    filmed = _annotate(folder / "filmed.json", {name: frames / 10 for name, frames in lengths.items()})
    features, annotated = str(folder / "features"), ["--annotations", str(truth)]
    run = ["run", "--videos", str(folder / "clips"), "--annotations", str(filmed), "--extract.workers", "1"]
    run += [
        "--sola.steps",
        "4",
        "--sola.window-snippets",
        "8",
        "--sola.tsm-size",
        "4",
        "--sola.position_stride",
        "1",
        "--sola.first-position",
    ]
    run += ["1", "--sola.hidden", "4", "--sola.device", "cpu", "--localize.device", "cpu"]
    run += [word.replace("--", "--train.") for word in TINY_HEAD]
    pictures = r"\.(svg|png)$"
    return [
        Victim("pack", ["store", "pack", features, "--megabytes", "0.005"], 80, passing=r"shards/\d+\.json"),
        Victim("unpack", ["store", "unpack", str(folder / "packed")], 80),
        Victim("merge", ["store", "merge", features, str(folder / "more")], 80),
        Victim("train", ["train", features, *annotated, *TINY_HEAD], 60),
        # A finished export is not overwritten.
        Victim("export", ["export", features, *annotated, "--to", "actionformer"], 70, again=cli.BAD_INPUT),
        Victim("run", run, 30, varying=rf"run\.json|logs/|{pictures}"),
    ]


def _annotate(path: Path, seconds: dict[str, float]) -> Path:
    subsets = ("training", "validation")
    return annotate(
        path,
        {
            name: (subsets[place % 2], length, [(1.0, 3.0, LABELS[0]), (4.0, 6.0, LABELS[1])])
            for place, (name, length) in enumerate(seconds.items())
        },
    )


def remove(out: Path) -> None:
    """Removes what a trial has left, in ``out`` and beside it."""
    for path in (out, *out.parent.glob(f".{out.name}.*")):
        shutil.rmtree(path, ignore_errors=True)


class Killing:
    """Kills of one victim: at random moments, and at each of its steps in turn."""

    def __init__(self, victim: Victim, folder: Path, chance: Random) -> None:
        self.victim, self.folder, self.chance = victim, folder, chance
        self.kills = 0
        self.violations: list[str] = []
        self._out = folder / "out"
        for _ in range(2):  # the first run warms caches
            remove(self._out)
            begun = time.monotonic()
            child = self._start()
            code = child.end()
            self._seconds = time.monotonic() - begun
        assert code == 0, child.lines()
        self._steps = child.seen("steps")
        self._expected = victim.content(self._out)
        if unsynced := child.seen("unsynced"):
            self.violations.append(f"published without a flush: {unsynced}")
        if left := leftovers(self._out):
            self.violations.append(f"temporary files stay: {left}")
        remove(self._out)

    def kill(self, count: int) -> None:
        """Kills the command so often, and checks what comes of each; every other time at a random moment, which may
        come too late to count."""
        times = Counter(self._steps)
        names = sorted(times)
        for number in itertools.count():
            if self.kills >= count:
                return
            if number % 2:
                name = names[number // 2 % len(names)]
                self._conclude(name, self._killed_at(name, self.chance.randrange(times[name])))
            else:
                self._conclude("a random moment", self._killed_at_random())

    def _start(self, on_step: Callable[[Step], None] = lambda step: None) -> Child:
        return start([*self.victim.words, "--out", str(self._out)], self.folder / "child", on_step)

    def _killed_at_random(self) -> int:
        child = self._start()
        if self.chance.random() < 0.8:  # much of a short run is its start
            child.wait_for_first_write()
        time.sleep(self.chance.uniform(0, 0.8 * self._seconds))
        os.kill(child.pid, signal.SIGKILL)
        return child.end()

    def _killed_at(self, name: str, number: int) -> int:
        def on_step(step: Step) -> None:
            if (step.name, step.time) == (name, number):
                if step.name.startswith("write"):
                    step.tear()
                os.kill(os.getpid(), signal.SIGKILL)

        return self._start(on_step).end()

    def _conclude(self, where: str, code: int) -> None:
        """Checks what a kill has left, runs the command again, and once more."""
        victim, out = self.victim, self._out
        self.kills += code == -signal.SIGKILL
        wrong = [] if code in (0, -signal.SIGKILL) else [f"exit code {code}"]
        wrong += victim.wrong_files(out, self._expected)
        complete = victim.content(out) == self._expected
        again = self._start()
        ended = again.end()
        if ended != 0 and not (complete and ended == victim.again):
            wrong.append(f"the next run ended with {ended}: {again.lines()}")
        if victim.content(out) != self._expected:
            wrong.append("the final files differ from those of the uninterrupted run")
        if left := leftovers(out):
            wrong.append(f"temporary files stay: {left}")
        if self.kills % 5 == 0:
            wrong += self._run_on_finished()
        self.violations += [f"{victim.name}, killed at {where}: {line}" for line in wrong]
        remove(out)

    def _run_on_finished(self) -> list[str]:
        before = self.victim.stamps(self._out)
        child = self._start()
        wrong = [] if child.end() == self.victim.again else [f"run on what is finished: {child.lines()}"]
        after = self.victim.stamps(self._out)
        written = sorted(name for name, stamp in before.items() if after.get(name) != stamp)
        return [*wrong, f"run on what is finished, it wrote {written}"] if written else wrong

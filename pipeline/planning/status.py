"""The status of a job, from the logs and the listings of its store; the job itself is not contacted."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from pipeline.extraction.run_log import ENDS, PROGRESS_SECONDS
from pipeline.storage.location import local
from pipeline.storage.temporary_names import process_has_ended
from pipeline.store.feature_store import FeatureStore

RATE_SECONDS = 600.0  # rates are averaged over this time
_TAIL_BYTES = 8 << 20  # end of a log to read: some ten thousand videos, and at least one line of sums
_SUMS = ("done", "skipped", "failed", "snippets", "bytes", "bytes_skipped")

State = Literal["working", "ended", "interrupted", "silent", "dead"]


@dataclass(frozen=True, kw_only=True)
class Worker:
    """One process of a job, read from its log.

    Args:
        name: host and process, as in the log's name.
        shard: its part of the videos, "i/n".
        state: "silent": no line for longer than a video may take without progress; "dead": on this machine, and gone.
        started, last: seconds since 1970 of its first and its last line.
        videos, total_bytes: number and bytes of its videos.
        sums: since its start: videos done, skipped (done before) and failed, snippets, the bytes of all these videos
            and those of the skipped ones.
        rates: of the sums, a second, over the last ten minutes; 0 if it is not at work.
    """

    name: str
    shard: str
    state: State
    started: float
    last: float
    videos: int
    total_bytes: int
    sums: dict[str, float]
    rates: dict[str, float]

    @property
    def at_work(self) -> bool:
        return self.state == "working"

    @property
    def seconds_left(self) -> float | None:
        """Return the estimated seconds left for its videos, by their bytes; None if unknown."""
        rate = self.rates["bytes"] - self.rates["bytes_skipped"]
        return max(0.0, self.total_bytes - self.sums["bytes"]) / rate if rate > 0 else None


@dataclass(frozen=True, kw_only=True)
class JobStatus:
    """The status of a job.

    Args:
        store: its folder.
        videos: number of videos given to all workers together.
        done, failed: videos in the store, from any job.
        workers: those of the latest job, in the order of their start.
        now: time of the status, seconds since 1970.
    """

    store: Path
    videos: int
    done: int
    failed: int
    workers: tuple[Worker, ...]
    now: float

    @property
    def videos_per_second(self) -> float:
        return sum(worker.rates["done"] + worker.rates["failed"] for worker in self.workers)

    @property
    def snippets_per_second(self) -> float:
        return sum(worker.rates["snippets"] for worker in self.workers)

    @property
    def seconds_left(self) -> float | None:
        """Return the estimated seconds left; None if unknown or if no worker is at work.

        Workers with shards of their own are estimated by the bytes of their videos. Workers on the same videos skip
        what others have done, so they are estimated by the number of videos left.
        """
        working = [worker for worker in self.workers if worker.at_work]
        if working and len({worker.shard for worker in working}) == len(working):
            times = [worker.seconds_left for worker in working]
            return None if None in times else max(time for time in times if time is not None)
        rate = self.videos_per_second
        return max(0, self.videos - self.done - self.failed) / rate if rate > 0 else None


def status_of(store: FeatureStore, *, now: float) -> JobStatus:
    """Return the status of the latest job on a store.

    Args:
        store: of the job.
        now: seconds since 1970.
    """
    logs = (local(store.path) / "logs").glob("*.jsonl")
    workers = latest(worker for worker in (read_worker(log, now=now) for log in logs) if worker is not None)
    given: Counter[str] = Counter()
    for worker in workers:
        given[worker.shard] = max(given[worker.shard], worker.videos)
    return JobStatus(
        store=local(store.path),
        videos=given.total(),
        done=len(store.ids()),
        failed=len(set(store.failed_ids()).difference(store.ids())),
        workers=workers,
        now=now,
    )


def latest(workers: Iterable[Worker]) -> tuple[Worker, ...]:
    """Return the workers of the latest job: the last started, and all whose work overlaps in time with one of these.

    A killed worker whose shard a successor has taken over is left out.
    """
    job: list[Worker] = []
    begun = float("inf")
    for worker in sorted(workers, key=lambda worker: worker.started, reverse=True):
        succeeded = any(other.shard == worker.shard and other.started >= worker.last for other in job)
        if job and (worker.last < begun or succeeded):
            continue
        job.append(worker)
        begun = min(begun, worker.started)
    return tuple(reversed(job))


def read_worker(log: Path, *, now: float) -> Worker | None:
    """Read a worker from its log; None if the log has no first line, or is not of `extract`."""
    lines = list(_lines(log))
    if not lines or lines[0].get("event") != "start":
        return None
    start, last = lines[0], lines[-1]
    sums, points = _sums(lines)
    state = _state(start, last, now=now)
    earlier = [point for point in points if point[0] >= now - RATE_SECONDS] or points[-1:]
    seconds = max(1e-3, now - earlier[0][0])
    rates = {name: (sums[name] - earlier[0][1][name]) / seconds if state == "working" else 0.0 for name in _SUMS}
    settings = start.get("settings", {})
    return Worker(
        name=log.stem.split("-", 1)[-1],
        shard=str(settings.get("shard", "1/1")),
        state=state,
        started=_time(start),
        last=_time(last),
        videos=int(start.get("videos", 0)),
        total_bytes=int(start.get("bytes", 0)),
        sums=sums,
        rates=rates,
    )


def _sums(lines: Sequence[dict[str, Any]]) -> tuple[dict[str, float], list[tuple[float, dict[str, float]]]]:
    """Return the sums at the end of a log, and those of each line that has them, with its time."""
    sums = dict.fromkeys(_SUMS, 0.0)
    points = [(_time(lines[0]), dict(sums))]
    for line in lines[1:]:
        event = line["event"]
        if event == "progress" or event in ENDS:
            sums |= {name: float(line[name]) for name in _SUMS if name in line}
            points.append((_time(line), dict(sums)))
        elif event in ("done", "failed"):
            sums[event] += 1
            for name in ("snippets", "bytes"):
                sums[name] += line.get(name, 0)
    return sums, points


def _state(start: dict[str, Any], last: dict[str, Any], *, now: float) -> State:
    if last["event"] in ENDS:
        return "ended" if last["event"] == "end" else "interrupted"
    if process_has_ended(str(start.get("process", ""))):
        return "dead"
    # A decoder without progress is ended after its limit, which adds a line to the log.
    patience = float(start.get("settings", {}).get("timeout_seconds", 120.0)) + 6 * PROGRESS_SECONDS
    return "silent" if now - _time(last) > patience else "working"


def _lines(log: Path) -> Iterator[dict[str, Any]]:
    """Yield the first line of a log, and those in its last part, without a line that is still being written."""
    try:
        with log.open("rb") as file:
            first = file.readline()
            rest = max(file.tell(), log.stat().st_size - _TAIL_BYTES)
            torn = rest > file.tell()
            file.seek(rest)
            text = [first, *file.read().split(b"\n")[1 if torn else 0 :]]
    except OSError:  # removed meanwhile
        return
    for line in text:
        try:
            value = json.loads(line)
        except ValueError:
            continue
        if isinstance(value, dict) and "event" in value and "time" in value:
            yield value


def _time(line: dict[str, Any]) -> float:
    return datetime.fromisoformat(line["time"]).timestamp()

"""The driver's side of a pool of Ray workers: send jobs, collect results, replace workers that die."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pipeline.cluster.ray_start import Capacity
from pipeline.cluster.worker import JobResult, RayWorker, RowsAdded
from pipeline.errors import PipelineError

_MAX_LOSSES = 3  # workers that may die over one job
_MAX_FAILED_STARTS = 3  # workers in a row that may die before they are ready
_SECONDS_PER_CALL = 1.0  # how long a worker waits for a result before it answers
_SECONDS_TO_STOP = 5.0
_SECONDS_TO_START = 300.0  # clusters that grow on demand take minutes


@dataclass(frozen=True)
class JobLost:
    """A job that is given up because every worker that had it died.

    Args:
        reason: identical in identical runs.
        details: Ray's message about the last of these workers; it names processes and addresses.
    """

    job: Any
    reason: str
    details: str


PoolEvent = JobResult | JobLost | RowsAdded


@dataclass
class _Worker:
    actor: Any
    name: str = ""
    about: Any = None
    ready: bool = False
    jobs: dict[str, Any] = field(default_factory=dict)  # unfinished jobs by key


class RayPool:
    """A pool of identical workers; a context manager.

    A job that a worker held when it died becomes a suspect: it runs again on a worker that holds nothing else, so that
    it cannot take other jobs down. After three deaths the job is lost.

    Args:
        ray: the connected module.
        opener, arguments: see `pipeline.cluster.worker.RayWorker`.
        capacity: number and size of the workers.
        depth: jobs that a worker holds at a time.
        on_ready: called with each worker's name and description before it gets jobs.
    """

    def __init__(
        self,
        ray: Any,
        opener: str,
        arguments: tuple[Any, ...],
        *,
        capacity: Capacity,
        depth: int,
        on_ready: Callable[[str, Any], None] = lambda name, about: None,
    ) -> None:
        self._ray = ray
        self._capacity = capacity
        self._depth = depth
        self._on_ready = on_ready
        self._make = lambda: (
            ray.remote(RayWorker)
            .options(num_cpus=capacity.cpus, num_gpus=capacity.gpus, max_restarts=0, scheduling_strategy="SPREAD")
            .remote(opener, arguments, threads=capacity.cpus, folder=str(Path.cwd()))
        )
        self._calls: dict[Any, _Worker] = {}  # at most one open call for each worker
        self._idle: list[_Worker] = []
        self._waiting: deque[Any] = deque()
        self._suspects: deque[Any] = deque()
        self._losses: Counter[str] = Counter()
        self._failed_starts = 0
        self._source: Iterator[Any] = iter(())
        self._last_heard = time.monotonic()

    def __enter__(self) -> RayPool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def wait_for_first(self, *, jobs: int) -> Any:
        """Start workers and return the description of the first that is ready.

        Args:
            jobs: expected number of jobs; no more workers than this are started.
        """
        for _ in range(max(1, min(jobs, self._capacity.workers))):
            self._start()
        while not self._idle:
            list(self._listen())
            if not self._calls and not self._idle:
                self._start()
        return self._idle[0].about

    def add(self, job: Any, *, first: bool = False) -> None:
        """Add a job while others run; `first` puts it before those that wait."""
        if first:
            self._waiting.appendleft(job)
        else:
            self._waiting.append(job)

    def drop(self, is_dropped: Callable[[Any], bool]) -> None:
        """Remove waiting jobs for which `is_dropped` is true."""
        self._waiting = deque(job for job in self._waiting if not is_dropped(job))
        self._suspects = deque(job for job in self._suspects if not is_dropped(job))

    def run(self, jobs: Iterable[Any]) -> Generator[PoolEvent, None, None]:
        """Run jobs; yield their results and the progress of the others as reports arrive.

        Jobs are taken one by one, when a worker has room.

        Args:
            jobs: small objects that say what to do, each with a `key` of its own.

        Raises:
            PipelineError: no worker can be started.
            Exception: whatever ended the work of a worker.
        """
        self._source = iter(jobs)
        while True:
            self._hand_out()
            if not self._waiting and not self._suspects and not any(worker.jobs for worker in self._calls.values()):
                return
            yield from self._listen()

    def close(self) -> None:
        """Stop all workers; they remove what they have half-done."""
        ray, workers = self._ray, [*self._calls.values(), *self._idle]
        stopping = [worker.actor.stop.remote(_SECONDS_TO_STOP) for worker in workers if worker.ready]
        if stopping:
            ray.wait(stopping, num_returns=len(stopping), timeout=2 * _SECONDS_TO_STOP)
        for worker in workers:
            ray.kill(worker.actor)
        self._calls, self._idle = {}, []

    def _hand_out(self) -> None:
        self._idle = [worker for worker in self._idle if not self._call(worker)]
        starting = sum(not worker.ready for worker in self._calls.values())
        while len(self._calls) + len(self._idle) < self._capacity.workers:
            self._fill(starting + 1 - len(self._suspects))
            if len(self._waiting) + len(self._suspects) <= starting:
                return
            self._start()
            starting += 1

    def _start(self) -> None:
        worker = _Worker(self._make())
        self._calls[worker.actor.ready.remote()] = worker

    def _call(self, worker: _Worker) -> bool:
        """Send a worker as many jobs as it can hold and ask for results; return False if it has no job at all."""
        new = self._jobs_for(worker)
        worker.jobs |= {job.key: job for job in new}
        if worker.jobs:
            self._calls[worker.actor.exchange.remote(new, _SECONDS_PER_CALL)] = worker
        return bool(worker.jobs)

    def _jobs_for(self, worker: _Worker) -> list[Any]:
        if any(self._losses[key] for key in worker.jobs):
            return []
        if self._suspects and not worker.jobs:
            return [self._suspects.popleft()]
        new: list[Any] = []
        while len(worker.jobs) + len(new) < self._depth:
            # Before a worker gets a second job, each idle one gets its first.
            kept = self._capacity.workers - self._busy(worker) if worker.jobs or new else 0
            self._fill(kept + 1)
            if len(self._waiting) <= kept:
                break
            new.append(self._waiting.popleft())
        return new

    def _busy(self, this: _Worker) -> int:
        """Return how many workers have jobs, counting `this` one."""
        others = {id(worker): worker for worker in [*self._calls.values(), *self._idle]}
        return 1 + sum(bool(worker.jobs) for worker in others.values() if worker is not this)

    def _fill(self, count: int) -> None:
        """Take jobs from the source until `count` wait or the source is empty."""
        while len(self._waiting) < count and (job := next(self._source, None)) is not None:
            self._waiting.append(job)

    def _listen(self) -> Iterator[PoolEvent]:
        """Wait for the next answer of a worker and yield what it reports."""
        ray = self._ray
        heard, _ = ray.wait(list(self._calls), num_returns=1, timeout=_SECONDS_PER_CALL)
        for call in heard:
            worker = self._calls.pop(call)
            try:
                reply = ray.get(call)
            except (ray.exceptions.RayActorError, ray.exceptions.ObjectLostError) as error:
                yield from self._lose(worker, error)
                continue
            except ray.exceptions.RayTaskError as error:
                raise _cause(error) from None
            self._last_heard = time.monotonic()
            if not worker.ready:
                (worker.name, worker.about), worker.ready = reply, True
                self._failed_starts = 0
                self._idle.append(worker)
                self._on_ready(worker.name, worker.about)
                continue
            ended, rows_added = reply
            for one in ended:
                del worker.jobs[one.key]
            self._idle.append(worker)
            if rows_added:
                yield RowsAdded(rows_added)
            yield from (replace(one, worker=worker.name) for one in ended)
        self._refuse_to_wait_forever()

    def _lose(self, worker: _Worker, error: Exception) -> Iterator[JobLost]:
        """Queue the jobs of a dead worker as suspects, or give them up."""
        self._ray.kill(worker.actor)  # it may be alive and only out of reach
        details = _reason_of_death(error)
        if not worker.ready:
            self._failed_starts += 1
            if self._failed_starts >= _MAX_FAILED_STARTS:
                raise PipelineError(f"{_MAX_FAILED_STARTS} Ray workers died at their start: {details}")
        for key, job in worker.jobs.items():
            self._losses[key] += 1
            if self._losses[key] < _MAX_LOSSES:
                self._suspects.append(job)
            else:
                yield JobLost(job, f"{_MAX_LOSSES} workers died over it", details)

    def _refuse_to_wait_forever(self) -> None:
        if any(worker.ready for worker in [*self._calls.values(), *self._idle]):
            return
        if time.monotonic() - self._last_heard > _SECONDS_TO_START:
            free = self._ray.available_resources()
            raise PipelineError(
                f"no Ray worker started within {_SECONDS_TO_START:g} s; each needs {self._capacity.cpus} CPUs and "
                f"{self._capacity.gpus:g} GPUs, free are {free.get('CPU', 0):g} and {free.get('GPU', 0):g}"
            )


def _cause(error: Any) -> BaseException:
    """Return the exception that the worker raised."""
    cause = getattr(error, "cause", None)
    return cause if isinstance(cause, BaseException) else error


def _reason_of_death(error: Exception) -> str:
    """Return one line of Ray's message about a dead worker."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    reasons = [line for line in lines if not line.startswith(("class_name", "actor_id", "pid", "namespace", "ip"))]
    return " ".join(reasons[:2])[:300] if reasons else type(error).__name__

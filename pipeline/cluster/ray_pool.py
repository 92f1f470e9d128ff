"""The driver's side of a pool of Ray workers: jobs go out, results come back, workers that die are replaced."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from pipeline.cluster.ray_start import Capacity
from pipeline.cluster.worker import JobResult, RayWorker
from pipeline.errors import PipelineError

_MOST_LOSSES = 3  # workers that may die over one job
_MOST_FAILED_STARTS = 3  # workers that may die one after the other before they are ready
_SECONDS_A_CALL = 1.0  # a worker is asked for news so often
_SECONDS_TO_STOP = 5.0
_SECONDS_TO_START = 300.0  # clusters that grow on demand take minutes


class Job(Protocol):
    """Something to do: a small object with a key of its own among all jobs."""

    @property
    def key(self) -> str: ...


@dataclass(frozen=True)
class JobLost:
    """A job is given up: the workers that had it died, each time.

    Args:
        reason: the same in equal runs.
        words: Ray's own, of the last of these workers; they name processes and addresses.
    """

    job: Any
    reason: str
    words: str


@dataclass
class _Worker:
    actor: Any
    name: str = ""
    about: Any = None
    ready: bool = False
    jobs: dict[str, Any] = field(default_factory=dict)  # given to it and not ended, by key


class RayPool:
    """Workers that are alike; a context manager.

    A job that was with a worker when it died is suspected: it is done again, by a worker that has nothing else, so
    that others do not suffer with it; when that has happened three times it is lost.

    Args:
        ray: the module, connected.
        opener, arguments: of :class:`pipeline.cluster.worker.RayWorker`.
        room: number and size of the workers.
        depth: jobs that a worker has at a time.
        on_ready: told each worker's name and what there is to know of it, before it is given jobs.
    """

    def __init__(
        self,
        ray: Any,
        opener: str,
        arguments: tuple[Any, ...],
        *,
        room: Capacity,
        depth: int,
        on_ready: Callable[[str, Any], None] = lambda name, about: None,
    ) -> None:
        self._ray = ray
        self._room = room
        self._depth = depth
        self._on_ready = on_ready
        self._make = lambda: (
            ray.remote(RayWorker)
            .options(num_cpus=room.cpus, num_gpus=room.gpus, max_restarts=0, scheduling_strategy="SPREAD")
            .remote(opener, arguments, threads=room.cpus, folder=str(Path.cwd()))
        )
        self._calls: dict[Any, _Worker] = {}  # a worker has at most one call under way
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

    def first_about(self, *, jobs: int) -> Any:
        """What there is to know of the first worker that is ready; it waits for its jobs.

        Args:
            jobs: as many are expected; for so many workers are started.
        """
        for _ in range(max(1, min(jobs, self._room.workers))):
            self._start()
        while not self._idle:
            list(self._listen())
            if not self._calls and not self._idle:
                self._start()
        return self._idle[0].about

    def add(self, job: Any, *, first: bool = False) -> None:
        """Adds a job while others are done; ``first``: before those that wait."""
        if first:
            self._waiting.appendleft(job)
        else:
            self._waiting.append(job)

    def drop(self, is_dropped: Callable[[Any], bool]) -> None:
        """Forgets jobs that wait."""
        self._waiting = deque(job for job in self._waiting if not is_dropped(job))
        self._suspects = deque(job for job in self._suspects if not is_dropped(job))

    def run(self, jobs: Iterable[Any]) -> Generator[JobResult | JobLost | int, None, None]:
        """What becomes of each job, and how much further the others are, as it is heard.

        Jobs are asked for one by one, as workers have room for them.

        Raises:
            PipelineError: workers cannot be started. What ended the work of one as a whole is raised as it is.
        """
        self._source = iter(jobs)
        while True:
            self._hand_out()
            if not self._waiting and not self._suspects and not any(worker.jobs for worker in self._calls.values()):
                return
            yield from self._listen()

    def close(self) -> None:
        """Ends all workers; they remove what they have half-done."""
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
        while len(self._calls) + len(self._idle) < self._room.workers:
            self._fill(starting + 1 - len(self._suspects))
            if len(self._waiting) + len(self._suspects) <= starting:
                return
            self._start()
            starting += 1

    def _start(self) -> None:
        worker = _Worker(self._make())
        self._calls[worker.actor.ready.remote()] = worker

    def _call(self, worker: _Worker) -> bool:
        """Gives a worker the jobs that it has room for and asks for news; False: it has none, and is left alone."""
        new = self._jobs_for(worker)
        worker.jobs |= {job.key: job for job in new}
        if worker.jobs:
            self._calls[worker.actor.exchange.remote(new, _SECONDS_A_CALL)] = worker
        return bool(worker.jobs)

    def _jobs_for(self, worker: _Worker) -> list[Any]:
        if any(self._losses[key] for key in worker.jobs):
            return []
        if self._suspects and not worker.jobs:
            return [self._suspects.popleft()]
        new: list[Any] = []
        while len(worker.jobs) + len(new) < self._depth:
            # A second job is kept for a worker that has none.
            kept = self._room.workers - self._busy(worker) if worker.jobs or new else 0
            self._fill(kept + 1)
            if len(self._waiting) <= kept:
                break
            new.append(self._waiting.popleft())
        return new

    def _busy(self, this: _Worker) -> int:
        """How many workers have jobs; ``this`` one counts."""
        others = {id(worker): worker for worker in [*self._calls.values(), *self._idle]}
        return 1 + sum(bool(worker.jobs) for worker in others.values() if worker is not this)

    def _fill(self, count: int) -> None:
        """Lets so many jobs wait, if there are so many."""
        while len(self._waiting) < count and (job := next(self._source, None)) is not None:
            self._waiting.append(job)

    def _listen(self) -> Iterator[JobResult | JobLost | int]:
        """What the workers say next."""
        ray = self._ray
        heard, _ = ray.wait(list(self._calls), num_returns=1, timeout=_SECONDS_A_CALL)
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
            ended, progress = reply
            for one in ended:
                del worker.jobs[one.key]
            self._idle.append(worker)
            if progress:
                yield progress
            yield from (replace(one, worker=worker.name) for one in ended)
        self._refuse_to_wait_for_ever()

    def _lose(self, worker: _Worker, error: Exception) -> Iterator[JobLost]:
        """Sees to the jobs of a worker that died."""
        self._ray.kill(worker.actor)  # it may only be out of reach
        words = _in_words(error)
        if not worker.ready:
            self._failed_starts += 1
            if self._failed_starts >= _MOST_FAILED_STARTS:
                raise PipelineError(f"{_MOST_FAILED_STARTS} Ray workers died while they were started: {words}")
        for key, job in worker.jobs.items():
            self._losses[key] += 1
            if self._losses[key] < _MOST_LOSSES:
                self._suspects.append(job)
            else:
                yield JobLost(job, f"{_MOST_LOSSES} workers died over it", words)

    def _refuse_to_wait_for_ever(self) -> None:
        if any(worker.ready for worker in [*self._calls.values(), *self._idle]):
            return
        if time.monotonic() - self._last_heard > _SECONDS_TO_START:
            free = self._ray.available_resources()
            raise PipelineError(
                f"no Ray worker could be started within {_SECONDS_TO_START:g} s; each needs {self._room.cpus} CPUs and "
                f"{self._room.gpus:g} GPUs, free are {free.get('CPU', 0):g} and {free.get('GPU', 0):g}"
            )


def _cause(error: Any) -> BaseException:
    """What a worker raised, as it would have been raised here."""
    cause = getattr(error, "cause", None)
    return cause if isinstance(cause, BaseException) else error


def _in_words(error: Exception) -> str:
    """Why a worker died, in one line of Ray's own words."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    reasons = [line for line in lines if not line.startswith(("class_name", "actor_id", "pid", "namespace", "ip"))]
    return " ".join(reasons[:2])[:300] if reasons else type(error).__name__

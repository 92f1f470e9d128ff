"""Workers get jobs and may die. A scripted stand-in takes the place of Ray."""

import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace

import pytest

from pipeline.cluster.ray_pool import JobLost, RayPool
from pipeline.cluster.ray_start import Capacity
from pipeline.cluster.worker import JobResult, RayWorker, RowsAdded
from pipeline.errors import PipelineError


@dataclass(frozen=True)
class Task:
    key: str


class ActorError(Exception):
    pass


class TaskError(Exception):
    def __init__(self, cause: Exception) -> None:
        self.cause = cause


@dataclass(eq=False)
class Call:
    """The handle that a method of an actor returns at once."""

    number: int
    method: Callable[..., object]
    arguments: tuple[object, ...]


class Actor:
    """Ends one job per call; dies when the cluster says so."""

    def __init__(self, cluster: "Cluster", number: int) -> None:
        self.cluster, self.number = cluster, number
        self.jobs: list[Task] = []
        self.dead = False
        self.most = 0
        methods = {"ready": self._ready, "exchange": self._exchange, "stop": lambda seconds: None}
        for name, method in methods.items():
            setattr(self, name, SimpleNamespace(remote=self._remote(method)))

    def _remote(self, method):
        return lambda *arguments: Call(next(self.cluster.numbers), method, arguments)

    def _ready(self):
        if self.number in self.cluster.dead_on_arrival:
            raise ActorError("it never was")
        return f"worker{self.number}", self.number

    def _exchange(self, jobs, seconds):
        self.jobs.extend(jobs)
        self.most = max(self.most, len(self.jobs))
        self.cluster.seen.append((self.number, [job.key for job in self.jobs]))
        if self.dead or self.cluster.is_deadly(self, self.jobs[0]):
            self.dead = True
            raise ActorError("killed\nby the test")
        if self.jobs[0].key in self.cluster.broken:
            raise TaskError(PipelineError("no such kernel"))
        return [JobResult(self.jobs.pop(0).key, self.number)], 1


class Cluster:
    """Stands in for the module ray."""

    exceptions = SimpleNamespace(RayActorError=ActorError, RayTaskError=TaskError, ObjectLostError=ActorError)

    def __init__(self, *, deadly=(), dead_on_arrival=(), broken=(), is_deadly=None) -> None:
        self.numbers = itertools.count()
        self.actors: list[Actor] = []
        self.killed: list[Actor] = []
        self.seen: list[tuple[int, list[str]]] = []
        self.dead_on_arrival, self.broken = dead_on_arrival, broken
        self.is_deadly = is_deadly or (lambda actor, job: job.key in deadly)

    def remote(self, body):
        assert body is RayWorker

        def make(*arguments, **settings):
            self.actors.append(Actor(self, len(self.actors)))
            return self.actors[-1]

        return SimpleNamespace(options=lambda **_: SimpleNamespace(remote=make))

    def wait(self, calls, *, num_returns, timeout):
        oldest = min(calls, key=lambda call: call.number)  # in turn
        return [oldest], [call for call in calls if call is not oldest]

    def get(self, call):
        return call.method(*call.arguments)

    def kill(self, actor):
        self.killed.append(actor)

    def available_resources(self):
        return {}


def run(cluster: Cluster, keys: str, *, workers: int = 2, depth: int = 3):
    """Run a job for each letter; return {key: worker} of those that end, and {key: (reason, details)} of those lost."""
    with RayPool(cluster, "m:f", (), capacity=Capacity(workers, 1, 0), depth=depth) as pool:
        ended, lost = {}, {}
        for result in pool.run(map(Task, keys)):
            if isinstance(result, JobLost):
                lost[result.job.key] = (result.reason, result.details)
            elif isinstance(result, JobResult):
                assert result.key not in ended
                ended[result.key] = result.worker
    return ended, lost


def test_each_job_is_done_once_and_workers_share_them():
    cluster = Cluster()
    ended, lost = run(cluster, "abcdefgh")
    assert (sorted(ended), lost) == (list("abcdefgh"), {})
    assert set(ended.values()) == {"worker0", "worker1"}
    assert max(actor.most for actor in cluster.actors) <= 3
    assert cluster.killed == cluster.actors  # the pool leaves nobody behind


def test_no_more_workers_are_started_than_there_are_jobs():
    cluster = Cluster()
    run(cluster, "ab", workers=9)
    assert len(cluster.actors) == 2
    assert cluster.seen == [(0, ["a"]), (1, ["b"])]  # no worker holds two jobs while another is idle


def test_workers_are_started_at_once_for_the_jobs_that_are_expected():
    cluster = Cluster(dead_on_arrival={0})
    with RayPool(cluster, "m:f", (), capacity=Capacity(5, 1, 0), depth=1) as pool:
        assert pool.wait_for_first(jobs=3) == 1
        assert len(cluster.actors) == 3
        assert sorted(e.key for e in pool.run(map(Task, "abc")) if isinstance(e, JobResult)) == ["a", "b", "c"]
    assert set(cluster.killed) == set(cluster.actors)


def test_jobs_are_asked_for_as_there_is_room_for_them():
    taken = []
    with RayPool(Cluster(), "m:f", (), capacity=Capacity(1, 1, 0), depth=2) as pool:
        results = pool.run(Task(taken.append(key) or key) for key in "abcdefgh")
        next(results)
        assert len(taken) <= 3


def test_a_job_over_which_workers_die_is_lost_after_three_and_takes_no_other_with_it():
    cluster = Cluster(deadly={"c"})
    ended, lost = run(cluster, "abcdefgh")
    assert sorted(ended) == list("abdefgh")
    assert lost == {"c": ("3 workers died over it", "killed by the test")}
    dead = [jobs for number, jobs in cluster.seen if cluster.actors[number].dead and jobs[0] == "c"]
    assert len(dead) == 3
    assert dead[1:] == [["c"], ["c"]]  # suspected, it is done by itself


def test_workers_that_die_by_chance_cost_nothing():
    chances = iter([False, False, True, False, True])
    cluster = Cluster(is_deadly=lambda actor, job: next(chances, False))
    ended, lost = run(cluster, "abcdefgh")
    assert (sorted(ended), lost) == (list("abcdefgh"), {})
    assert sum(actor.dead for actor in cluster.actors) == 2


def test_jobs_can_be_added_and_dropped_on_the_way():
    cluster = Cluster()
    with RayPool(cluster, "m:f", (), capacity=Capacity(1, 1, 0), depth=1) as pool:
        ended = []
        for result in pool.run(map(Task, "abc")):
            if isinstance(result, JobResult):
                ended.append(result.key)
                if result.key == "a":
                    for key in "xyz":
                        pool.add(Task(key), first=key == "z")
                    pool.drop(lambda job: job.key == "y")
    assert (ended[:2], sorted(ended)) == (["a", "z"], ["a", "b", "c", "x", "z"])


@pytest.mark.parametrize("seed", range(60))
def test_each_job_ends_once_whatever_is_added_and_whichever_worker_dies(seed):
    chance = random.Random(seed)
    cluster = Cluster(is_deadly=lambda actor, job: job.key == "poison" or chance.random() < 0.03)
    capacity, depth = Capacity(chance.randint(1, 4), 1, 0), chance.randint(1, 4)
    keys = [str(number) for number in range(chance.randint(0, 9))] + ["poison"] * (seed % 2)
    given, ended = list(keys), []
    with RayPool(cluster, "m:f", (), capacity=capacity, depth=depth) as pool:
        for result in pool.run(map(Task, keys)):
            if isinstance(result, RowsAdded):
                continue
            ended.append(result.key if isinstance(result, JobResult) else result.job.key)
            while len(given) < 40 and chance.random() < 0.6:
                given.append(f"more {len(given)}")
                pool.add(Task(given[-1]), first=chance.random() < 0.5)
    assert sorted(ended) == sorted(given)
    assert len(set(map(id, cluster.killed))) == len(cluster.actors)


def test_workers_that_die_before_they_are_ready_end_the_job_after_three():
    cluster = Cluster(dead_on_arrival={0, 1, 2})
    with pytest.raises(PipelineError, match="3 Ray workers died at their start: it never was"):
        run(cluster, "ab")
    ended, _ = run(Cluster(dead_on_arrival={0, 2}), "ab")
    assert sorted(ended) == ["a", "b"]


def test_what_ends_the_work_of_a_worker_is_raised_as_it_is():
    with pytest.raises(PipelineError, match="no such kernel"):
        run(Cluster(broken={"b"}), "abc")

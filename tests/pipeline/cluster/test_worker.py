"""A worker takes jobs and returns results, without Ray."""

import pytest

from pipeline.cluster.worker import JobResult, RayWorker, Ready, RowsAdded
from pipeline.errors import PipelineError
from tests.pipeline.cluster.test_ray_pool import Task


def open_counting(most: int) -> Ready:
    def work(jobs):
        for job in jobs:
            if job.key == "bad":
                raise PipelineError("no such kernel")
            yield RowsAdded(2)
            yield JobResult(job.key, len(job.key))

    return Ready(f"at most {most}", work)


def test_a_worker_takes_jobs_and_returns_results():
    worker = RayWorker(f"{__name__}:open_counting", (7,), threads=1, folder=".")
    assert worker.ready()[1] == "at most 7"
    ended, progress = [], 0
    new = [Task("a"), Task("bbb")]
    while len(ended) < 2:
        more, count = worker.exchange(new, 5.0)
        ended, progress, new = ended + more, progress + count, []
    assert (ended, progress) == ([JobResult("a", 1), JobResult("bbb", 3)], 4)
    with pytest.raises(PipelineError, match="no such kernel"):  # later jobs start another stream
        worker.exchange([Task("bad")], 5.0)
    worker.stop(5.0)


def test_a_worker_that_does_not_see_the_drivers_folder_says_so():
    worker = RayWorker(f"{__name__}:open_counting", (7,), threads=1, folder="/no/such/folder")
    with pytest.raises(PipelineError, match="does not see the folder /no/such/folder"):
        worker.ready()

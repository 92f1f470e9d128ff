"""The status of a job as text, for people and for Prometheus."""

from __future__ import annotations

from collections.abc import Iterator

from pipeline.planning.status import JobStatus, Worker
from pipeline.text.plain import counted, plain
from pipeline.text.table import duration

_PREFIX = "sola_pipeline"


def lines(status: JobStatus) -> Iterator[str]:
    """For people: the job, then a line for each worker."""
    left = status.seconds_left
    when = f"; about {duration(left)} left" if left is not None else ""
    rates = f", {status.videos_per_second * 3600:,.0f} videos an hour, {status.snippets_per_second:,.1f} snippets/s"
    at_work = sum(worker.at_work for worker in status.workers)
    yield (
        f"{status.store}: {counted(status.done, 'video')} done, {status.failed} failed, of {status.videos}; "
        f"{at_work} of {counted(len(status.workers), 'worker')} at work{rates if at_work else ''}{when}"
    )
    for worker in status.workers:
        yield f"  {_worker_line(worker, now=status.now)}"


def _worker_line(worker: Worker, *, now: float) -> str:
    sums = worker.sums
    passed = f"{sums['done']:.0f} done, {sums['skipped']:.0f} skipped, {sums['failed']:.0f} failed of {worker.videos}"
    part = f" (part {worker.shard})" if worker.shard != "1/1" else ""
    words = {
        "working": f"{worker.rates['snippets']:,.1f} snippets/s",
        "silent": f"SILENT: no line for {duration(now - worker.last)}; if it is gone, run the same command again",
        "dead": f"DEAD since {duration(now - worker.last)} or less; the same command goes on from there",
    }
    return f"{worker.name}{part}: {passed}; {words.get(worker.state, worker.state)}"


def prometheus_lines(status: JobStatus) -> Iterator[str]:
    """The figures in Prometheus' text format (version 0.0.4)."""
    store = {"store": str(status.store)}
    by_state = {"given": status.videos, "done": status.done, "failed": status.failed}
    yield from _metric("videos", "Videos that the workers were given, and those done and failed in the store.")
    yield from (_sample("videos", {**store, "state": state}, count) for state, count in by_state.items())
    if status.seconds_left is not None:
        yield from _metric("left_seconds", "Seconds until all videos are done, as foreseen.")
        yield _sample("left_seconds", store, status.seconds_left)
    yield from _metric("worker_up", "1 while the worker is at work.")
    yield from (_sample("worker_up", _labels(store, worker), worker.at_work) for worker in status.workers)
    yield from _metric("worker_last_timestamp_seconds", "When the worker's log got its last line.")
    for worker in status.workers:
        yield _sample("worker_last_timestamp_seconds", _labels(store, worker), worker.last)
    yield from _metric("worker_videos_total", "Videos that the worker has passed, by what became of them.", "counter")
    for worker in status.workers:
        for state in ("done", "skipped", "failed"):
            yield _sample("worker_videos_total", {**_labels(store, worker), "state": state}, worker.sums[state])
    yield from _metric("worker_snippets_total", "Snippets that the worker has encoded.", "counter")
    for worker in status.workers:
        yield _sample("worker_snippets_total", _labels(store, worker), worker.sums["snippets"])


def _labels(store: dict[str, str], worker: Worker) -> dict[str, str]:
    return {**store, "worker": worker.name, "shard": worker.shard}


def _metric(name: str, help_text: str, kind: str = "gauge") -> tuple[str, str]:
    return f"# HELP {_PREFIX}_{name} {help_text}", f"# TYPE {_PREFIX}_{name} {kind}"


def _sample(name: str, labels: dict[str, str], value: float) -> str:
    quoted = (
        '{}="{}"'.format(label, plain(text).replace("\\", "\\\\").replace('"', '\\"')) for label, text in labels.items()
    )
    return f"{_PREFIX}_{name}{{{','.join(quoted)}}} {float(value):.15g}"

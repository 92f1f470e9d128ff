"""The commands for jobs on many machines: plan a job, and show its progress."""

from __future__ import annotations

import time
from typing import Annotated

from pipeline.commandline.app import Flat, Local, Locals, app
from pipeline.commandline.terminal import say, say_json, show
from pipeline.errors import SOME_FAILED, PipelineError
from pipeline.extraction.config import ExtractConfig
from pipeline.planning.config import PlanConfig
from pipeline.progress import progress
from pipeline.text.plain import plain

_EVERY_SECONDS = 5.0  # between two looks of `status --watch`


@app.command(name="plan", sort_key=7)
def plan(
    videos: Locals,
    /,
    *,
    out: Local | None = None,
    json: bool = False,
    settings: Annotated[ExtractConfig, Flat] = ExtractConfig(),
    planning: Annotated[PlanConfig, Flat] = PlanConfig(),
) -> int:
    """Estimate how long `extract` takes on one machine and on many, how much it stores, and what limits it.

    Decodes some of the videos and tries the encoder on this machine; the rest is arithmetic
    (pipeline/planning/plan_model.py).

    Args:
        videos: Video files, folders (searched below), or text files of paths.
        out: The feature store, or where it will be. Leaves out what is done there, and tries its disk.
        json: Print JSON.
    """
    from pipeline.commandline.plan_text import plan_advice, plan_lines, plan_table
    from pipeline.planning.plan import plan as made_plan

    with progress("plan", total=1) as report:
        result = made_plan(videos, out, settings, planning, report=report)
    if json:
        say_json(result.as_json(), indent=2)
        return 0
    for line in plan_lines(result):
        say(line)
    show(plan_table(result))
    for line in plan_advice(result):
        say(line)
    return 0


@app.command(name="status", sort_key=7)
def status(store: Local, /, *, watch: bool = False, prometheus: bool = False) -> int:
    """Show the progress of `extract` from its store: done, failed, rate, estimated end, and each worker.

    The exit code is 1 if videos have failed, or a worker has died or gone silent.

    Args:
        store: The feature store that `extract` is writing.
        watch: Repeat every five seconds until all workers have ended.
        prometheus: Print the figures once, as text for Prometheus.
    """
    from pipeline.commandline.status_text import lines, prometheus_lines
    from pipeline.planning.status import status_of
    from pipeline.store.feature_store import FeatureStore

    if watch and prometheus:
        raise PipelineError("give --watch or --prometheus, not both: a scraper asks when it wants to know")
    opened = FeatureStore.open(store)
    job = status_of(opened, now=time.time())
    if prometheus:
        for line in prometheus_lines(job):
            say(line)
        return 0
    if watch:
        from rich.live import Live
        from rich.text import Text

        with Live(auto_refresh=False, transient=True) as live:
            while any(worker.at_work for worker in job.workers):
                live.update(Text("\n".join(map(plain, lines(job)))), refresh=True)
                time.sleep(_EVERY_SECONDS)
                job = status_of(opened, now=time.time())
    for line in lines(job):
        say(line)
    return SOME_FAILED if job.failed or any(w.state in ("dead", "silent") for w in job.workers) else 0

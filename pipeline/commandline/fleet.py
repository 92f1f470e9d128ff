"""The commands for jobs on many machines: plan a job, and show its progress."""

from __future__ import annotations

from typing import Annotated

from pipeline.commandline.app import Flat, Local, Locals, app
from pipeline.extraction.config import ExtractConfig
from pipeline.planning.config import PlanConfig


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
    from pipeline.commandline.plan_commands import run_plan

    return run_plan(videos, out, settings, planning, as_json=json)


@app.command(name="status", sort_key=7)
def status(store: Local, /, *, watch: bool = False, prometheus: bool = False) -> int:
    """Show the progress of `extract` from its store: done, failed, rate, estimated end, and each worker.

    The exit code is 1 if videos have failed, or a worker has died or gone silent.

    Args:
        store: The feature store that `extract` is writing.
        watch: Repeat every five seconds until all workers have ended.
        prometheus: Print the figures once, as text for Prometheus.
    """
    from pipeline.commandline.status_commands import run_status

    return run_status(store, watch=watch, prometheus=prometheus)

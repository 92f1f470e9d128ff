"""The commands for jobs on many machines, thin: what a job will take, and how it is getting on."""

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
    """How long `extract` will take on one machine and on many, how much it will store, and what holds it up.

    Some of the videos are decoded and the encoder is tried, here; the rest is arithmetic
    (pipeline/planning/plan_model.py).

    Args:
        videos: Video files, folders (searched below), or text files of paths.
        out: The feature store, or where it will be: what is done there is left out, and its disk is tried.
        json: Print JSON.
    """
    from pipeline.commandline.plan_commands import run_plan

    return run_plan(videos, out, settings, planning, as_json=json)


@app.command(name="status", sort_key=7)
def status(store: Local, /, *, watch: bool = False, prometheus: bool = False) -> int:
    """How `extract` is getting on, from its store alone: done, failed, rate, the end foreseen, and each worker.

    The exit code is 1 where videos have failed, or a worker has died or fallen silent.

    Args:
        store: The feature store that is being made.
        watch: Tell it again every five seconds, until all workers have ended.
        prometheus: Print the figures as text for Prometheus, once.
    """
    from pipeline.commandline.status_commands import run_status

    return run_status(store, watch=watch, prometheus=prometheus)

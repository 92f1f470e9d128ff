"""The pretext tasks by name: add yours here."""

from __future__ import annotations

from collections.abc import Callable

from pipeline.pretraining.bsp import plan_bsp
from pipeline.pretraining.classify import plan_classify
from pipeline.pretraining.pal_data import plan_pal
from pipeline.pretraining.task import Request, TaskPlan
from pipeline.pretraining.tsp_plan import plan_tac, plan_tsp

TASKS: dict[str, Callable[[Request], TaskPlan]] = {
    "classify": plan_classify,
    "tac": plan_tac,
    "tsp": plan_tsp,
    "bsp": plan_bsp,
    "pal": plan_pal,
}


def plan_task(request: Request) -> TaskPlan:
    """Return the plan of the task that the settings name.

    Raises:
        PipelineError: the data do not suit the task.
    """
    return TASKS[request.config.task](request)

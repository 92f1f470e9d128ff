"""The pretext tasks by name: add yours here."""

from __future__ import annotations

from collections.abc import Callable

from pipeline.pretraining.classify import plan_classify
from pipeline.pretraining.task import Request, TaskPlan

TASKS: dict[str, Callable[[Request], TaskPlan]] = {"classify": plan_classify}


def plan_task(request: Request) -> TaskPlan:
    """Return the plan of the task that the settings name.

    Raises:
        PipelineError: the data do not suit the task.
    """
    return TASKS[request.config.task](request)

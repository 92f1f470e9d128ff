"""Progress on the terminal: what is done, how fast, how long it still takes. Silent where nobody looks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn


class Report(Protocol):
    """Takes the state of a job: the share that is done, and a line about it."""

    def __call__(self, done: float, text: str) -> None: ...


@contextmanager
def progress(title: str, *, total: float, shown: bool = True) -> Iterator[Report]:
    """A progress bar on standard error with elapsed and remaining time; nothing where that is no terminal.

    Args:
        title: the step, e.g. "extract".
        total: value of ``done`` at which the job is finished, in any unit.
        shown: False where another process shows the same.
    """
    console = Console(stderr=True)
    if not (shown and console.is_terminal):
        yield silent
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        TextColumn("{task.percentage:>3.0f}%"),
        TextColumn("{task.fields[text]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task: TaskID = bar.add_task(title, total=total, text="")

        def report(done: float, text: str) -> None:
            bar.update(task, completed=done, text=text)

        yield report


def silent(done: float, text: str) -> None:
    """A :class:`Report` that says nothing."""

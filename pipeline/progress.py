"""Progress on the terminal: what is done, how fast, how long it still takes. Silent without a terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from pipeline.text.plain import plain

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress


class Report(Protocol):
    """Takes the progress of a job: the share that is done, and a line of text."""

    def __call__(self, done: float, text: str) -> None: ...


@contextmanager
def progress(title: str, *, total: float, shown: bool = True) -> Iterator[Report]:
    """Show a progress bar on standard error with elapsed and remaining time; nothing if that is no terminal.

    Args:
        title: the step, e.g. "extract".
        total: value of `done` at which the job is finished, in any unit.
        shown: False if another process shows the same.
    """
    if not (shown and sys.stderr.isatty()):
        yield silent
        return
    from rich.console import Console

    with progress_bar(Console(stderr=True)) as bar:
        task = bar.add_task(plain(title), total=total, text="")

        def report(done: float, text: str) -> None:
            bar.update(task, completed=done, text=plain(text))

        yield report


def progress_bar(console: Console) -> Progress:
    """Return a bar for tasks with a `text`: the share that is done, the text, the time that has passed and is left."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=30),
        TextColumn("{task.percentage:>3.0f}%"),
        TextColumn("{task.fields[text]}", markup=False),
        TextColumn("passed"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
    )


def silent(done: float, text: str) -> None:
    """Ignore the progress; a `Report`."""

"""Tables of words and figures for comparing results, and durations for people."""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Iterable, Sequence

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipeline.text.plain import plain


def table_text(
    title: str, header: Sequence[str], rows: Iterable[Sequence[str]], *, sums: int = 0, figures: bool = True
) -> str:
    """Return a table as text, as wide as its content, also if the output goes to a file.

    Args:
        title: the line above it.
        header: names of the columns.
        rows: cells, shown as they are: brackets are no markup.
        sums: number of rows at the end that are sums, shown below a line.
        figures: whether all columns but the first hold figures, which are right-aligned.
    """
    names, cells = list(map(plain, header)), [list(map(plain, row)) for row in rows]
    table = Table(box=box.HEAVY_HEAD if _draws_lines() else box.ASCII)
    for number, name in enumerate(names):
        table.add_column(Text(name), justify="right" if figures and number else "left", no_wrap=True)
    for number, row in enumerate(cells):
        table.add_row(*map(Text, row), end_section=number == len(cells) - sums - 1)
    widest = [max(map(cell_len, column)) for column in zip(names, *cells, strict=True)]
    text = io.StringIO()
    Console(file=text, width=sum(widest) + 3 * len(widest) + 1, color_system=None).print(table)
    return f"{plain(title)}\n{text.getvalue().rstrip()}"


def csv_text(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a table as comma-separated values, one line a row."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([header, *rows])
    return text.getvalue()


def markdown_text(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table as Markdown, one line a row."""
    lines = [header, ["---"] * len(header), *rows]
    return "".join(f"| {' | '.join(plain(cell).replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines)


def duration(seconds: float) -> str:
    """Return a duration in a suitable unit: 12.3 s, 4.5 min, 6.7 h, 8.9 days."""
    for unit, length in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:,.1f} {unit}"
    return f"{seconds:.1f} s"


def _draws_lines() -> bool:
    """Whether standard output can show box-drawing characters."""
    return (sys.stdout.encoding or "").lower().startswith("utf")

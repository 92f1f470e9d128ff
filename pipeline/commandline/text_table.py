"""Tables of words and figures, for results that are compared side by side; times as people say them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table


def print_table(console: Console, title: str, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Prints a table as wide as it needs to be, also where the output goes to a file; figures stand to the right."""
    console.print(title, markup=False)
    rows = list(rows)
    table = Table()
    for number, name in enumerate(header):
        table.add_column(name, justify="left" if number == 0 else "right", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    widest = [max(map(cell_len, column)) for column in zip(header, *rows, strict=True)]
    width = max(console.width, sum(widest) + 3 * len(widest) + 1)
    Console(file=console.file, width=width, highlight=False, markup=False).print(table)


def duration(seconds: float) -> str:
    """A time in the unit that suits it: 12.3 s, 4.5 min, 6.7 h, 8.9 days."""
    for unit, length in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:,.1f} {unit}"
    return f"{seconds:.1f} s"

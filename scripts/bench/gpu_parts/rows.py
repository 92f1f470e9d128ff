"""Rows of results: each written at once as a line of JSON, and all as a Markdown table."""

import json
from pathlib import Path
from typing import Any

FILE, TABLE = "results.jsonl", "results.md"


class Rows:
    """The rows of one part, written to `out`."""

    def __init__(self, out: Path, part: str) -> None:
        self._file, self._part = out / FILE, part

    def add(self, row: str, **values: Any) -> None:
        """Write a row at once: its name and its values; None values are left out."""
        kept = {name: _rounded(value) for name, value in values.items() if value is not None}
        with self._file.open("a") as file:
            file.write(json.dumps({"part": self._part, "row": row, **kept}) + "\n")

    def failed(self, row: str, reason: object) -> None:
        """Write a row whose measurement failed."""
        words = str(reason).strip().splitlines() or [type(reason).__name__]
        kind = f"{type(reason).__name__}: " if isinstance(reason, BaseException) else ""
        self.add(row, failed=f"{kind}{words[0]}"[:300])


def read_rows(out: Path) -> list[dict[str, Any]]:
    """Return all rows so far, without an incomplete line."""
    if not (out / FILE).exists():
        return []
    rows = []
    for line in (out / FILE).read_text().splitlines():
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return rows


def write_table(out: Path) -> None:
    """Write all rows as Markdown: a table for each part."""
    parts: dict[str, list[dict[str, Any]]] = {}
    for row in read_rows(out):
        parts.setdefault(row.pop("part"), []).append(row)
    (out / TABLE).write_text("\n".join(f"## {part}\n\n{_table(rows)}" for part, rows in parts.items()))


def as_line(row: dict[str, Any]) -> str:
    """Return a row as text for the terminal."""
    values = "  ".join(f"{name} {value}" for name, value in row.items() if name not in ("part", "row"))
    return f"{row['part']}: {row['row']}: {values}"


def _table(rows: list[dict[str, Any]]) -> str:
    columns = list(dict.fromkeys(name for row in rows for name in row))
    lines = [columns, ["---"] * len(columns)]
    lines += [[str(row.get(name, "")).replace("|", "\\|") for name in columns] for row in rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _rounded(value: Any) -> Any:
    """Return a number rounded to four digits, the precision of a timing."""
    if isinstance(value, float):
        return float(f"{value:.4g}")
    return value

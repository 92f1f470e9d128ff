"""The tables of `compare_fits`, and which idea earns its place."""

from collections.abc import Mapping, Sequence

import numpy as np
from untried_fits import IDEAS

# Scores from 0 to 1, except for the rank.
BOUNDARY, HEAD = "logistic_accuracy_within_1", "map_own"
COLUMNS = {
    "logistic_accuracy": "accuracy",
    BOUNDARY: "within 1",
    "logistic_accuracy_within_4": "within 4",
    "logistic_accuracy_away": "away",
    HEAD: "mAP, actionness",
    "rank": "effective rank",
}
PLAIN = "plain"

Cells = Mapping[tuple[str, int], Mapping[str, float]]  # the scores of a row by fold and seed


def written_tables(found: Mapping[str, Mapping[str, Cells]]) -> str:
    """Return a Markdown table for each data set, and the verdict.

    Args:
        found: scores by data set, row, and fold and seed.
    """
    head = (
        "Mean ± standard deviation over folds and seeds, in %. All rows but the first: change against plain features "
        "of the same fold and seed, in points. Effective ranks are themselves."
    )
    return "\n\n".join([head, *(table(name, rows) for name, rows in found.items()), verdict(found)]) + "\n"


def table(name: str, rows: Mapping[str, Cells]) -> str:
    lines = [f"| {name} | cells | " + " | ".join(COLUMNS.values()) + " |", "|" + "---|" * (len(COLUMNS) + 2)]
    for row, cells in rows.items():
        shown = [shown_score(rows, row, column) for column in COLUMNS]
        lines.append("| " + " | ".join([row, str(len(cells)), *shown]) + " |")
    return "\n".join(lines)


def shown_score(rows: Mapping[str, Cells], row: str, column: str) -> str:
    if column == "rank":
        values, percent, sign = [scores[column] for scores in rows[row].values()], 1, ""
    elif row == PLAIN:
        values, percent, sign = [scores[column] for scores in rows[row].values() if column in scores], 100, ""
    else:
        values, percent, sign = changes(rows, row, column), 100, "+"
    if not values:
        return ""
    return f"{percent * np.mean(values):{sign}.1f} ± {percent * np.std(values):.1f}"


def changes(rows: Mapping[str, Cells], row: str, column: str) -> list[float]:
    """Return the changes of a score against plain features of the same fold and seed."""
    plain = rows.get(PLAIN, {})
    pairs = [(scores, plain[at]) for at, scores in rows[row].items() if at in plain]
    return [one[column] - other[column] for one, other in pairs if column in one and column in other]


def verdict(found: Mapping[str, Mapping[str, Cells]], ideas: Sequence[str] = IDEAS) -> str:
    """Return a line for each idea: where it gains by more than two deviations.

    It earns its place only if it gains within a snippet of boundaries and for the head, on at least two data sets.
    """
    lines = []
    for idea in ideas:
        gains = {
            column: [name for name, rows in found.items() if idea in rows and is_gain(changes(rows, idea, column))]
            for column in (BOUNDARY, HEAD)
        }
        both = [name for name in gains[BOUNDARY] if name in gains[HEAD]]
        parts = [f"{COLUMNS[column]} on {', '.join(names) or 'none'}" for column, names in gains.items()]
        word = "earns its place" if len(both) >= 2 else "does not earn its place"
        lines.append(f"* {idea}: {word}. It gains beyond two deviations: {'; '.join(parts)}.")
    return "\n".join(lines)


def is_gain(values: Sequence[float]) -> bool:
    return len(values) > 1 and float(np.mean(values)) > 2 * float(np.std(values))

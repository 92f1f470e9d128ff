"""An evaluation as tables for people."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console
from rich.table import Table

from pipeline.metrics.error_analysis import KINDS, ErrorAnalysis
from pipeline.metrics.map import LengthResult, MapResult
from pipeline.metrics.proposals import RecallResult
from pipeline.plots.errors import length_names
from pipeline.stages.evaluate import Evaluation

_PROPOSALS = (1, 5, 10, 50, 100)


def print_evaluation(evaluation: Evaluation, console: Console) -> None:
    """Prints what to know first, then mAP for each threshold set, then the details that are there."""
    for line in evaluation.notes:
        console.print(f"note: {line}", markup=False)
    where = f"{evaluation.videos} videos of subset {evaluation.subset}"
    for name, result in evaluation.results.items():
        _print(_map_table(f"AP in %, thresholds of {name}, protocol {result.protocol}, {where}", result), console)
    if evaluation.recall is not None:
        _print(_recall_table(evaluation.recall), console)
    if evaluation.lengths is not None:
        _print(_length_table(evaluation.lengths), console)
    if evaluation.errors is not None:
        _print(_error_table(evaluation.errors), console)


def _print(table: Table, console: Console) -> None:
    # A table is as wide as it needs to be, also when it goes to a file.
    width = max(console.width, 24 + 8 * len(table.columns))
    Console(file=console.file, width=width).print(table)


def _map_table(title: str, result: MapResult) -> Table:
    table = _table(title, "class", "segments", *(f"{tiou:g}" for tiou in result.tious), "mean")
    for k, label in enumerate(result.labels):
        values = result.per_class[k]
        table.add_row(label, str(result.segments[k]), *_percents([*values, values.mean()]))
    table.add_section()
    table.add_row("mAP", str(result.segments.sum()), *_percents([*result.map, result.average]))
    return table


def _recall_table(recall: RecallResult) -> Table:
    numbers = [n for n in _PROPOSALS if n <= len(recall.average)]
    table = _table("Average recall of AN proposals a video, in %", *(f"AR@{n}" for n in numbers), "AUC")
    table.add_row(*_percents([*(recall.average[n - 1] for n in numbers), recall.auc]))
    return table


def _length_table(lengths: LengthResult) -> Table:
    table = _table("mAP in % by length of segment", "seconds", "segments", "mean over tIoU")
    for name, segments, average in zip(
        length_names(lengths.bounds_seconds), lengths.segments, lengths.average, strict=True
    ):
        table.add_row(name, str(segments), *_percents([average]))
    return table


def _error_table(errors: ErrorAnalysis) -> Table:
    table = _table(f"Kinds of detections at tIoU {errors.tiou:g}", "kind", "count", "mAP gained without, points")
    for kind, name in enumerate(KINDS):
        gain = "" if kind == 0 else f"{100 * errors.gain[kind]:.1f}"
        table.add_row(name, str(errors.counts[:, kind].sum()), gain)
    table.add_section()
    table.add_row("missed segments", f"{errors.missed.sum()} of {errors.segments.sum()}", "")
    return table


def _table(title: str, first: str, *others: str) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column(first)
    for name in others:
        table.add_column(name, justify="right")
    return table


def _percents(values: Iterable[float]) -> list[str]:
    return ["-" if value != value else f"{100 * value:.1f}" for value in values]  # NaN: no such segments

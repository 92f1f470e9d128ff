"""An evaluation as tables for people."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pipeline.metrics.error_analysis import KINDS, ErrorAnalysis
from pipeline.metrics.map import LengthResult, MapResult
from pipeline.metrics.proposals import RecallResult
from pipeline.plots.errors import length_names
from pipeline.stages.evaluate import Evaluation
from pipeline.text.plain import counted
from pipeline.text.table import table_text

_PROPOSALS = (1, 5, 10, 50, 100)


def evaluation_tables(evaluation: Evaluation) -> Iterator[str]:
    """Yield mAP for each threshold set, then the details that are there, each as the text of a table."""
    where = f"{counted(evaluation.videos, 'video')} of subset {evaluation.subset}"
    for name, result in evaluation.results.items():
        yield _map_table(f"AP in %, thresholds of {name}, protocol {result.protocol}, {where}", result)
    if evaluation.recall is not None:
        yield _recall_table(evaluation.recall)
    if evaluation.lengths is not None:
        yield _length_table(evaluation.lengths)
    if evaluation.errors is not None:
        yield _error_table(evaluation.errors)


def _map_table(title: str, result: MapResult) -> str:
    rows = []
    for k, label in enumerate(result.labels):
        values = result.per_class[k]
        rows.append([label, str(result.segments[k]), *_percents([*values, values.mean()])])
    rows.append(["mAP", str(result.segments.sum()), *_percents([*result.map, result.average])])
    return table_text(title, ["class", "segments", *(f"{tiou:g}" for tiou in result.tious), "mean"], rows, sums=1)


def _recall_table(recall: RecallResult) -> str:
    numbers = [n for n in _PROPOSALS if n <= len(recall.average)]
    row = _percents([*(recall.average[n - 1] for n in numbers), recall.auc])
    return table_text("Average recall of AN proposals a video, in %", [*(f"AR@{n}" for n in numbers), "AUC"], [row])


def _length_table(lengths: LengthResult) -> str:
    names = length_names(lengths.bounds_seconds)
    rows = [
        [name, str(segments), *_percents([average])]
        for name, segments, average in zip(names, lengths.segments, lengths.average, strict=True)
    ]
    return table_text("mAP in % by length of segment", ["seconds", "segments", "mean over tIoU"], rows)


def _error_table(errors: ErrorAnalysis) -> str:
    rows = []
    for kind, name in enumerate(KINDS):
        gain = "" if kind == 0 else f"{100 * errors.gain[kind]:.1f}"
        rows.append([name, str(errors.counts[:, kind].sum()), gain])
    rows.append(["missed segments", f"{errors.missed.sum()} of {errors.segments.sum()}", ""])
    title = f"Kinds of detections at tIoU {errors.tiou:g}"
    return table_text(title, ["kind", "count", "mAP gained without, points"], rows, sums=1)


def _percents(values: Iterable[float]) -> list[str]:
    return ["-" if value != value else f"{100 * value:.1f}" for value in values]  # NaN: no such segments

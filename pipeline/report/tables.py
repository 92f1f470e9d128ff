"""The tables of a report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipeline.annotations import summary
from pipeline.config import RunConfig
from pipeline.metrics.error_analysis import KINDS
from pipeline.plots.errors import MEANINGS, length_names
from pipeline.report.facts import ReportFacts, RunParts
from pipeline.report.text import duration, percent
from pipeline.stages.evaluate import Evaluation
from pipeline.text.plain import counted
from sola.config import SolaConfig
from sola.old_names import current_names

if TYPE_CHECKING:
    from pipeline.stages.linear_probe import ProbeResult


@dataclass(frozen=True)
class Table:
    """A table of the page: `header`, `rows`, how many rows at the end are sums, whether its last column is prose."""

    title: str
    header: list[str]
    rows: list[list[str]]
    sums: int = 0
    prose: bool = False


def stage_table(run: RunParts) -> Table:
    """Return time, memory and result of each stage."""
    rows = [
        [
            name,
            duration(record.get("seconds", 0.0)),
            f"{record.get('peak_memory_megabytes_so_far', 0):,}",
            str(record.get("text", "")),
        ]
        for name, record in run.stages.items()
    ]
    total = sum(record.get("seconds", 0.0) for record in run.stages.values())
    header = ["stage", "time", "peak memory so far, MB", "what it did"]
    return Table("", header, [*rows, ["all", duration(total), "", ""]], 1, prose=True)


def settings_groups(run: RunParts) -> list[tuple[str, list[tuple[str, str]]]]:
    """Return groups of (name, value): the run's settings, then the stores' description of the features."""
    spec = run.store.spec.as_json()
    groups: dict[str, Any] = {
        "features: what a row means": spec["rows"],
        "features: encoder": spec["encoder"],
        "features: weights and arithmetic": {
            "weights": spec["weights"],
            "precision": spec["precision"],
            "dtype": spec["dtype"],
        },
    }
    if run.enhanced is not None and run.enhanced.spec.sola is not None:
        sola = run.enhanced.spec.sola
        others = {name: value for name, value in sola.items() if name != "settings"}
        groups["SoLa"] = {**current_names(SolaConfig, sola.get("settings") or {}), **others}
    ids = run.store.ids()
    if ids:
        groups["libraries"] = (run.store.sidecar(ids[0]) or {}).get("libraries", {})
    loose = {name: value for name, value in run.settings.items() if not isinstance(value, dict)}
    groups |= {"run": loose} if loose else {}
    given = current_names(RunConfig, run.settings)
    groups |= {f"run: {name}": value for name, value in given.items() if isinstance(value, dict)}
    return [(name, _flat(value)) for name, value in groups.items()]


def _flat(value: Any, prefix: str = "") -> list[tuple[str, str]]:
    if isinstance(value, dict):
        return [pair for key, item in value.items() for pair in _flat(item, f"{prefix}.{key}" if prefix else str(key))]
    if isinstance(value, (list, tuple)):
        return [(prefix, ", ".join(map(str, value)))]
    return [(prefix, "–" if value is None else str(value))]


def data_set_tables(facts: ReportFacts) -> list[Table]:
    """Return videos and segments by subset and by class; none without annotations."""
    if facts.annotations is None:
        return []
    found = summary(facts.annotations)
    tables = []
    for title, groups in (("Subsets", found.subsets), ("Classes", found.classes)):
        rows = [
            [
                g.name or "(none)",
                str(g.videos),
                str(g.segments),
                "–" if g.median_seconds is None else f"{g.median_seconds:.1f}",
            ]
            for g in groups
        ]
        tables.append(Table(title, [title.lower(), "videos", "segments", "median length, s"], rows))
    return tables


def linear_table(linear: ProbeResult) -> Table:
    """Return the linear evaluation, a column a store."""
    from pipeline.stages.linear_probe import probe_rows  # it loads torch

    header = ["measure", *(store.view or ("with SoLa" if store.sola else "without SoLa") for store in linear.stores)]
    train, test = linear.videos
    seeds = len(linear.config.seeds)
    many = f"{counted(train, 'video')} to learn from, {test} to test on, {counted(seeds, 'seed')}"
    title = f"Foreground against background, {many}, %"
    return Table(title, header, [list(row) for row in probe_rows(linear)])


def map_tables(evaluations: Mapping[str, Evaluation]) -> list[Table]:
    """Return tables of AP by class and tIoU, one for each way and set of thresholds."""
    return [table for way, evaluation in evaluations.items() for table in _map_tables(way, evaluation)]


def _map_tables(way: str, evaluation: Evaluation) -> list[Table]:
    tables = []
    for name, result in evaluation.results.items():
        header = ["class", "segments", *(f"{tiou:g}" for tiou in result.tious), "mean"]
        rows = [
            [label, str(int(count)), *map(percent, values), percent(float(values.mean()))]
            for label, count, values in zip(result.labels, result.segments, result.per_class, strict=True)
        ]
        rows.append(["mAP", str(int(result.segments.sum())), *map(percent, result.map), percent(result.average)])
        rules = f"protocol {result.protocol}, {counted(evaluation.videos, 'video')} of subset {evaluation.subset}"
        tables.append(Table(f"AP in %, {way}, thresholds of {name}; {rules}", header, rows, 1))
    return tables


def error_table(evaluations: Mapping[str, Evaluation]) -> Table | None:
    """Return how often each kind of error occurs and what it costs, two columns for each way; None without analyses."""
    found = {way: evaluation.errors for way, evaluation in evaluations.items() if evaluation.errors is not None}
    if not found:
        return None
    first = next(iter(found.values()))
    header = ["kind of detection"]
    for way in found:
        header += [f"count, {way}", f"mAP gained without, points, {way}"]
    rows = []
    for kind, name in enumerate(KINDS):
        cells = [
            [str(int(errors.counts[:, kind].sum())), f"{100 * errors.gain[kind]:.1f}" if kind else ""]
            for errors in found.values()
        ]
        rows.append([name, *(cell for pair in cells for cell in pair)])
    for place, name in enumerate(length_names(first.bounds_seconds)):
        if first.segments[place]:
            cells = [[f"{int(errors.missed[place])} of {int(errors.segments[place])}", ""] for errors in found.values()]
            rows.append([f"missed segments, {name} s long", *(cell for pair in cells for cell in pair)])
    return Table(f"Errors at tIoU {first.tiou:g}", header, rows)


def error_meanings(evaluations: Mapping[str, Evaluation]) -> list[tuple[str, str]]:
    """Return each kind of error and what it means, in words."""
    tiou = next((one.errors.tiou for one in evaluations.values() if one.errors is not None), 0.5)
    return [(name, words.format(tiou=f"{tiou:g}")) for name, words in zip(KINDS, MEANINGS, strict=True)]

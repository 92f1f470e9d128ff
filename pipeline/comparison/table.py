"""The table of a comparison, for people, programs and the report.

OUT/comparison.md                  what differs, the table, what failed or is still to come, and how it was counted
OUT/comparison.json                the same for `report`
OUT/results.csv, summary.csv       as `ablate` writes them, with the costs: each seed; mean and deviation
OUT/comparison.png, .svg           mAP against training operations
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pipeline.ablation.cell import CellResult
from pipeline.ablation.results import SHOWN, Setting, score_text, settings_of, write_results
from pipeline.comparison.cells import cell_folder, cell_of
from pipeline.comparison.given import Comparison
from pipeline.comparison.machine import machine_text
from pipeline.comparison.rows import Row
from pipeline.comparison.verdict import verdict
from pipeline.plots.figures import picture_files, save_figure
from pipeline.plots.quality_against_cost import Mark, draw_quality_against_cost
from pipeline.storage.atomic_files import write_json, write_text
from pipeline.text.table import duration, markdown_text

MAP = "map_own"
NOT_YET = "not yet"
_COSTS = {
    "parameters": "trained parameters",
    "training_flop": "training FLOP",
    "extraction_flop": "extraction FLOP",
    "memory_megabytes": "peak memory",
    "seconds": "wall time",
}
_PREFIXES = ("", "k", "M", "G", "T", "P", "E")
_NOTES = (
    "Labels: what a method uses beside the start weights, which all rows share, and beside the head, which learns from "
    "segments in all rows. Trained parameters: of encoder, SoLa and head. Training FLOP: in matrix products and "
    "convolutions of all that is trained, with its validation; a multiplication and an addition are two. Extraction "
    "FLOP: a forward pass of each snippet of all videos. Peak memory: of the largest process; on a GPU, that of the "
    "GPU. Wall time: of training, extraction, localization and evaluation. mAP: mean over the tIoU that follow. "
    "Accuracy and what follows: the linear evaluation of the features, foreground against background, in all and "
    "within so many snippets of a boundary. The start weights are made once; ± is the deviation over the seeds of "
    "what is trained after them. The best epoch of a head is chosen on the evaluated videos, in all rows."
)


def write_comparison(given: Comparison, results: Sequence[CellResult]) -> list[Path]:
    """Write all files and return them; none if no row is finished. Rows and seeds that are still to come are marked."""
    out, plan = given.out, given.plan
    by_name = {result.cell.name: result for result in results}
    cells = [cell_of(given, row, seed) for seed in plan.seeds for row in plan.rows]
    everything = [by_name.get(cell.name, CellResult(cell, {}, NOT_YET)) for cell in cells]
    settings = settings_of(everything)
    written = write_results(everything, out)
    if not written:
        return []
    header, rows = comparison_table(plan.rows, everything)
    failures = {r.cell.name: r.failure for r in everything if r.failure not in ("", NOT_YET)}
    machine = machine_text()
    sentence = verdict(everything, plan.rows[0].title, MAP)
    if (left := sum(result.failure == NOT_YET for result in everything)) > 0:
        there = len(everything) - left
        sentence = f"Not finished: {there} of {len(everything)} rows and seeds are there. {sentence}"
    parts = [
        f"# Comparison: {plan.file.stem}",
        sentence,
        markdown_text(header, rows),
        *(f"- failed: {name}: {reason}" for name, reason in failures.items()),
        f"Machine: {machine}. Encoder: {plan.extract.encoder}. {_NOTES}",
    ]
    write_text(out / "comparison.md", "\n\n".join(parts) + "\n")
    pictures = picture_files(out / "comparison")
    missing = [row[0] for row in rows if row[0] not in {setting.label for setting in settings}]
    save_figure(draw_quality_against_cost([mark_of(setting) for setting in settings], missing), pictures)
    shown = {
        result.cell.label: str(cell_folder(given, result.cell).relative_to(out) / "detections.json")
        for result in reversed(everything)  # the first seed stays
        if not result.failure
    }
    record = {
        "verdict": sentence,
        "header": header,
        "rows": rows,
        "failures": failures,
        "notes": [f"Machine: {machine}.", _NOTES],
        "picture": pictures[0].name,
        "detections": {setting.label: shown[setting.label] for setting in settings},
        "videos": str(given.videos.resolve()),
        "annotations": str(given.annotations.resolve()),
    }
    write_json(out / "comparison.json", record)
    return [out / "comparison.md", out / "comparison.json", *written, *pictures]


def comparison_table(rows: Sequence[Row], results: Sequence[CellResult]) -> tuple[list[str], list[list[str]]]:
    """Return header and rows: costs, mAP, and the linear evaluation, each as mean and deviation.

    A row that is still to come says so; one whose seeds have all failed is left out.

    Args:
        rows: in their order.
        results: of every row and seed; the failure of those that are still to come is `NOT_YET`.
    """
    settings = {setting.label: setting for setting in settings_of(results)}
    measured = dict.fromkeys(name for setting in settings.values() for name in setting.scores)
    linear = [name for name in SHOWN if name in measured and not name.startswith(("map", "gain"))]
    maps = [MAP, *(name for name in measured if name.startswith("map_at_"))]
    titles = {MAP: "mAP", **{name: f"mAP@{name.removeprefix('map_at_')}" for name in maps[1:]}}
    header = ["method", "seeds", "labels", *_COSTS.values(), *titles.values(), *(SHOWN[name] for name in linear)]
    lines = []
    for row in rows:
        of_row = [result.failure for result in results if result.cell.label == row.title]
        scores = settings[row.title].scores if row.title in settings else {}
        done, left = len(scores.get(MAP, ())), of_row.count(NOT_YET)
        seeds = f"{done} of {len(of_row)}" if left else str(done)
        if scores:
            costs = [_cost_text(name, scores[name]) for name in _COSTS]
            measures = [score_text(name, scores.get(name)) for name in (*titles, *linear)]
            lines.append([row.title, seeds, row.labels, *costs, *measures])
        elif left:
            lines.append([row.title, seeds, row.labels, *[NOT_YET] * (len(header) - 3)])
    return header, lines


def mark_of(setting: Setting) -> Mark:
    """Return the point of a row in the picture."""
    scores, costs = 100 * np.array(setting.scores[MAP]), np.array(setting.scores["training_flop"])
    return Mark(setting.label, costs.mean(), scores.mean(), scores.std())


def _cost_text(name: str, values: Sequence[float]) -> str:
    """Return mean and deviation with a unit; the mean alone if all seeds take the same."""
    if name == "seconds":
        mean, deviation = duration(float(np.mean(values))), duration(float(np.std(values)))
        return mean if np.std(values) < 0.05 else f"{mean} ± {deviation}"
    unit = "B" if name == "memory_megabytes" else ""
    scale = 1e6 if name == "memory_megabytes" else 1.0
    return f"{large(scale * float(np.mean(values)))}{unit}"


def large(value: float) -> str:
    """Return a large number with three digits and the prefix of its thousands: 1.53 G."""
    thousands = 0
    while value >= 999.5 and thousands < len(_PREFIXES) - 1:
        value, thousands = value / 1000, thousands + 1
    return f"{value:.3g} {_PREFIXES[thousands]}".rstrip() if thousands else f"{value:.0f}"

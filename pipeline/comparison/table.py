"""The table of a comparison, for people, programs and the report.

OUT/comparison.md                  what differs, the table, what failed, and how it was counted
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
from pipeline.comparison.cells import cell_folder
from pipeline.comparison.given import Comparison
from pipeline.comparison.machine import machine_text
from pipeline.comparison.verdict import verdict
from pipeline.plots.figures import picture_files, save_figure
from pipeline.plots.quality_against_cost import Mark, draw_quality_against_cost
from pipeline.storage.atomic_files import write_json, write_text
from pipeline.text.table import duration, markdown_text

MAP = "map_own"
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
    """Write all files and return them; there is at least one finished row."""
    out, settings = given.out, settings_of(results)
    written = write_results(results, out)
    if not written:
        return []
    header, rows = comparison_table(given, settings)
    failures = {r.cell.name: r.failure for r in results if r.failure}
    machine = machine_text()
    sentence = verdict(results, given.plan.rows[0].title, MAP)
    parts = [
        f"# Comparison: {given.plan.file.stem}",
        sentence,
        markdown_text(header, rows),
        *(f"- failed: {name}: {reason}" for name, reason in failures.items()),
        f"Machine: {machine}. Encoder: {given.plan.extract.encoder}. {_NOTES}",
    ]
    write_text(out / "comparison.md", "\n\n".join(parts) + "\n")
    pictures = picture_files(out / "comparison")
    save_figure(draw_quality_against_cost([mark_of(setting) for setting in settings]), pictures)
    shown = {
        result.cell.label: str(cell_folder(given, result.cell).relative_to(out) / "detections.json")
        for result in reversed(results)  # the first seed stays
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


def comparison_table(given: Comparison, settings: Sequence[Setting]) -> tuple[list[str], list[list[str]]]:
    """Return header and rows: costs, mAP, and the linear evaluation, each as mean and deviation."""
    labels = {row.title: row.labels for row in given.plan.rows}
    measured = dict.fromkeys(name for setting in settings for name in setting.scores)
    linear = [name for name in SHOWN if name in measured and not name.startswith(("map", "gain"))]
    maps = [MAP, *(name for name in measured if name.startswith("map_at_"))]
    titles = {MAP: "mAP", **{name: f"mAP@{name.removeprefix('map_at_')}" for name in maps[1:]}}
    header = ["method", "seeds", "labels", *_COSTS.values(), *titles.values(), *(SHOWN[name] for name in linear)]
    rows = [
        [
            setting.label,
            str(len(setting.scores[MAP])),
            labels[setting.label],
            *(_cost_text(name, setting.scores[name]) for name in _COSTS),
            *(score_text(name, setting.scores.get(name)) for name in (*titles, *linear)),
        ]
        for setting in settings
    ]
    return header, rows


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

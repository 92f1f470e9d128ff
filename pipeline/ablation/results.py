"""The results of an ablation: a line for each cell, mean and standard deviation over the seeds, a table, a plot.

OUT/results.csv     a line for each cell: the options that vary, the seed, all scores (0 to 1), the cell's folder
OUT/summary.csv     a line for each setting: mean and standard deviation of each score over its seeds
OUT/notes.txt       what a reader of the tables must know, if there is anything
OUT/results.png, results.svg
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.ablation.cell import CellResult
from pipeline.ablation.plan import label_of, value_text
from pipeline.plots.figures import literal, new_figure, picture_files, save_figure
from pipeline.storage.atomic_files import whole_file

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Measures and their titles in tables and plots.
SHOWN = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced",
    "average_precision": "AP",
    "accuracy_within_1": "within 1",
    "accuracy_within_2": "within 2",
    "accuracy_within_4": "within 4",
    "accuracy_within_8": "within 8",
    "accuracy_away": "away",
    "logistic_accuracy": "accuracy, logistic",
    "logistic_average_precision": "AP, logistic",
    "logistic_accuracy_within_1": "within 1, logistic",
    "gain": "gain (0 to 1)",
    "gain_before": "of the features before",
    "gain_features": "of the features after",
    "map_activitynet": "mAP 0.5:0.95",
    "map_thumos": "mAP 0.3:0.7",
    "map_own": "mAP own",
}


@dataclass(frozen=True)
class Setting:
    """The cells of one setting: `scores` of each measure, one for each finished seed."""

    options: dict[str, Any]
    scores: dict[str, list[float]]

    @property
    def label(self) -> str:
        """Return the options that vary, as one line."""
        return label_of(self.options)


def settings_of(results: Sequence[CellResult]) -> list[Setting]:
    """Return the finished cells, grouped by setting, in the order of the first cell of each."""
    found: dict[str, Setting] = {}
    for result in results:
        if result.failure:
            continue
        setting = found.setdefault(result.cell.label, Setting(result.cell.options, {}))
        for name, score in result.scores.items():
            setting.scores.setdefault(name, []).append(score)
    return list(found.values())


def write_results(results: Sequence[CellResult], out: Path, *, notes: Sequence[str] = ()) -> list[Path]:
    """Write the two tables, the two pictures and the notes, and return their files (none if no cell is finished).

    Args:
        results: of all cells.
        out: the folder of results.
        notes: what belongs above a table, a line each.
    """
    settings = settings_of(results)
    if not settings:
        return []
    options = list(dict.fromkeys(name for result in results for name in result.cell.options))
    measures = list(dict.fromkeys(name for setting in settings for name in setting.scores))
    cells = [
        [
            *_values(result.cell.options, options),
            str(result.cell.seed),
            *(_number(result.scores.get(name)) for name in measures),
            f"cells/{result.cell.name}",
            result.failure,
        ]
        for result in results
    ]
    _write_csv(out / "results.csv", [*options, "seed", *measures, "folder", "failure"], cells)
    header = [f"{name}_{what}" for name in measures for what in ("mean", "deviation")]
    lines = [[*_values(s.options, options), str(_seeds(s)), *_means(s, measures)] for s in settings]
    _write_csv(out / "summary.csv", [*options, "seeds", *header], lines)
    pictures = picture_files(out / "results")
    save_figure(draw_results(settings), pictures)
    texts = [out / "notes.txt"] if notes else []
    (out / "notes.txt").unlink(missing_ok=True)
    for file in texts:
        with whole_file(file) as partial:
            partial.write_text("\n".join(notes) + "\n", encoding="utf-8")
    return [out / "results.csv", out / "summary.csv", *pictures, *texts]


def table_of(settings: Sequence[Setting]) -> tuple[list[str], list[list[str]]]:
    """Return header and rows of a table: mean and deviation in percent; gains of the loss from 0 to 1."""
    measured = dict.fromkeys(name for setting in settings for name in setting.scores)
    shown = {name: title for name, title in SHOWN.items() if name in measured}
    shown |= {name: f"mAP@{name.removeprefix('map_at_')}" for name in measured if name.startswith("map_at_")}
    rows = [
        [setting.label, str(_seeds(setting)), *(score_text(name, setting.scores.get(name)) for name in shown)]
        for setting in settings
    ]
    return ["", "seeds", *shown.values()], rows


def draw_results(settings: Sequence[Setting]) -> Figure:
    """Return a figure of the linear evaluation's accuracy and of mAP for each setting: seeds, mean and deviation.

    Without a head, the accuracy near boundaries replaces mAP.
    """
    candidates = ("map_own", "map_activitynet", "accuracy_within_1")
    second = next((name for name in candidates if all(name in s.scores for s in settings)), "average_precision")
    panels = {"accuracy": "accuracy of the linear evaluation (%)", second: f"{SHOWN[second]} (%)"}
    longest = max(len(setting.label) for setting in settings)
    figure = new_figure(7.0 + 0.07 * longest, 1.4 + 0.4 * len(settings))
    places = range(len(settings))
    all_axes = figure.subplots(1, len(panels), sharey=True)
    for axes, (name, title) in zip(all_axes, panels.items(), strict=True):
        for place, setting in zip(places, settings, strict=True):
            values = 100 * np.array(setting.scores[name])
            axes.plot(values, [place] * len(values), ".", color="0.65", zorder=1)
            axes.errorbar(values.mean(), place, xerr=values.std(), fmt="o", capsize=4, color="C0", zorder=2)
        axes.set_xlabel(title)
        axes.grid(axis="x", alpha=0.3)
    all_axes[0].set_yticks(places, [literal(setting.label) for setting in settings])
    all_axes[0].set_ylim(len(settings) - 0.5, -0.5)
    figure.suptitle("Mean and standard deviation over the seeds (points)", fontsize="medium")
    return figure


def _seeds(setting: Setting) -> int:
    return len(setting.scores["accuracy"])


def _values(options: dict[str, Any], names: Sequence[str]) -> list[str]:
    return [value_text(options[name]) if name in options else "" for name in names]


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.6f}"


def _means(setting: Setting, measures: Sequence[str]) -> Iterator[str]:
    for name in measures:
        values = setting.scores.get(name)
        yield _number(float(np.mean(values)) if values else None)
        yield _number(float(np.std(values)) if values else None)


def score_text(name: str, values: Sequence[float] | None) -> str:
    """Return mean and deviation of a score: in percent, gains from 0 to 1."""
    if not values:
        return "-"
    if name.startswith("gain"):  # a share of the loss, not a percentage of counted things
        return f"{np.mean(values):.2f} ± {np.std(values):.2f}"
    return f"{100 * np.mean(values):.1f} ± {100 * np.std(values):.1f}"


def _write_csv(file: Path, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    with whole_file(file) as partial, partial.open("w", encoding="utf-8", newline="") as lines:
        csv.writer(lines).writerows([header, *rows])

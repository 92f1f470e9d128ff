"""The error analysis as a picture."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np

from pipeline.metrics.error_analysis import KINDS, ErrorAnalysis
from pipeline.plots.figures import new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# What each kind of `KINDS` means, for readers who do not know the analysis. {tiou}: its threshold.
MEANINGS = (
    "right class, and it overlaps an annotated segment enough (tIoU of {tiou} or more)",
    "a second detection of a segment that a better-scored one has found already",
    "the right place, but the name of another class",
    "the right class near its segment, but start or end is too far off",
    "near a segment of another class, and too far off as well",
    "where nothing is annotated",
)
_KIND_COLORS = ("#4c9a6a", "#e0a126", "#8f6fc0", "#4a90c8", "#c66aa0", "#d0553f")


def plot_errors(analysis: ErrorAnalysis) -> Figure:
    """Return a figure of the kinds along the ranking, the cost of each error, and the missed segments by length."""
    figure = new_figure(13, 4.4)
    ranking, cost, missed = figure.subplots(1, 3, width_ratios=(3, 2, 2))
    draw_ranking(figure, ranking, analysis)
    draw_cost(cost, analysis)
    draw_missed(missed, analysis)
    return figure


def draw_ranking(figure: Figure, axes: Axes, analysis: ErrorAnalysis) -> None:
    """Draw the share of each kind, from the best-scored detections on; the legend lies below all axes."""
    shares = analysis.counts / np.maximum(analysis.counts.sum(axis=1, keepdims=True), 1) * 100
    bottom = np.zeros(len(shares))
    for kind, name in enumerate(KINDS):
        axes.bar(range(len(shares)), shares[:, kind], bottom=bottom, label=name, color=_KIND_COLORS[kind])
        bottom = bottom + shares[:, kind]
    axes.set_xticks(range(len(shares)), [str(group + 1) for group in range(len(shares))])
    axes.set(
        title=f"Detections by rank, tIoU {analysis.tiou:g}",
        xlabel="rank: 1 is the best-scored part, as many as there are segments",
        ylabel="share (%)",
    )
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)


def draw_cost(axes: Axes, analysis: ErrorAnalysis) -> None:
    """Draw how many points of mAP each kind of error costs."""
    axes.barh(KINDS[1:], analysis.gain[1:] * 100, color=_KIND_COLORS[1:])
    axes.invert_yaxis()
    axes.set(title=f"mAP gained without (now {analysis.map * 100:.1f} %)", xlabel="points")
    axes.set_xlim(0, max(1.0, 1.05 * 100 * float(analysis.gain[1:].max())))


def draw_missed(axes: Axes, analysis: ErrorAnalysis) -> None:
    """Draw the share of missed segments by their length."""
    there = analysis.segments > 0
    names = [name for name, is_there in zip(length_names(analysis.bounds_seconds), there, strict=True) if is_there]
    axes.bar(names, 100 * analysis.missed[there] / analysis.segments[there], color=_KIND_COLORS[3], width=0.6)
    axes.set(title="Missed segments", xlabel="length (s)", ylabel="share (%)", ylim=(0, 100))


def length_names(bounds_seconds: tuple[float, ...]) -> list[str]:
    """Return the names of the lengths: "<= 3", "3-6", ..., "> 18"."""
    middle = [f"{low:g}-{high:g}" for low, high in itertools.pairwise(bounds_seconds)]
    return [f"<= {bounds_seconds[0]:g}", *middle, f"> {bounds_seconds[-1]:g}"]

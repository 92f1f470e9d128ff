"""The error analysis as a picture."""

import itertools
from typing import TYPE_CHECKING

import numpy as np

from pipeline.errors import PipelineError
from pipeline.metrics.error_analysis import KINDS, ErrorAnalysis

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def plot_errors(analysis: ErrorAnalysis) -> "Figure":
    """Return a figure of the kinds along the ranking, the cost of each error, and the missed segments by length."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise PipelineError("matplotlib must be installed to plot, but is not; pip install matplotlib") from error
    figure = Figure(figsize=(13, 4), layout="constrained")
    ranking, cost, missed = figure.subplots(1, 3, width_ratios=(3, 2, 2))

    shares = analysis.counts / np.maximum(analysis.counts.sum(axis=1, keepdims=True), 1) * 100
    bottom = np.zeros(len(shares))
    for kind, name in enumerate(KINDS):
        ranking.bar(range(len(shares)), shares[:, kind], bottom=bottom, label=name)
        bottom = bottom + shares[:, kind]
    ranking.set_xticks(range(len(shares)), [f"{group + 1}G" for group in range(len(shares))])
    ranking.set(
        title=f"Detections by rank, tIoU {analysis.tiou:g}", xlabel="G: segments of a class", ylabel="share (%)"
    )
    ranking.legend(fontsize="small")

    cost.barh(KINDS[1:], analysis.gain[1:] * 100)
    cost.invert_yaxis()
    cost.set(title=f"mAP gained without (now {analysis.map * 100:.1f}%)", xlabel="points")
    cost.set_xlim(0, max(1.0, 1.05 * 100 * float(analysis.gain[1:].max())))

    share = 100 * analysis.missed / np.maximum(analysis.segments, 1)
    missed.bar(length_names(analysis.bounds_seconds), share)
    missed.set(title="Missed segments", xlabel="length (s)", ylabel="share (%)", ylim=(0, 100))
    missed.tick_params(axis="x", labelrotation=30)
    return figure


def length_names(bounds_seconds: tuple[float, ...]) -> list[str]:
    """Return the names of the lengths: "<= 3", "3-6", ..., "> 18"."""
    middle = [f"{low:g}-{high:g}" for low, high in itertools.pairwise(bounds_seconds)]
    return [f"<= {bounds_seconds[0]:g}", *middle, f"> {bounds_seconds[-1]:g}"]

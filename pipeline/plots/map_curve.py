"""Mean average precision by tIoU, one line a way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from pipeline.plots.colors import WAY_COLORS
from pipeline.plots.figures import literal, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw_map_curve(
    tious: Sequence[float], maps: Mapping[str, np.ndarray], deviations: Mapping[str, np.ndarray]
) -> Figure:
    """Draw the lines, each with a band of one deviation.

    Args:
        tious: [N].
        maps, deviations: of each way [N], from 0 to 1; NaN or absent deviations have no band.
    """
    figure = new_figure(5.2, 3.4)
    axes = figure.subplots()
    for place, (way, values) in enumerate(maps.items()):
        color = WAY_COLORS[place % len(WAY_COLORS)]
        axes.plot(
            tious, 100 * values, "-" if place == 0 else "--", marker="o", markersize=4, color=color, label=literal(way)
        )
        if (deviation := deviations.get(way)) is not None:
            low, high = (100 * np.clip(values + sign * deviation, 0, 1) for sign in (-1, 1))
            axes.fill_between(tious, low, high, color=color, alpha=0.2, linewidth=0)
    axes.set(xlabel="tIoU: how well start and end must fit", ylabel="mAP (%)", ylim=(0, 102), title="mAP by tIoU")
    axes.set_xticks(list(tious))
    axes.grid(alpha=0.4)
    figure.legend(loc="outside lower center", ncols=2, frameon=False)
    return figure

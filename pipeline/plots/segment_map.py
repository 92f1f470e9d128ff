"""A map of segments: those that look alike to the encoder lie near each other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pipeline.plots.colors import class_colors
from pipeline.plots.figures import literal, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw_segment_map(places: Mapping[str, NDArray[np.floating]]) -> Figure:
    """Return a figure with a dot for each segment, in the color of its label.

    Args:
        places: [N, 2] by label.
    """
    figure = new_figure(6.0, 5.0)
    axes = figure.subplots()
    for (label, points), color in zip(places.items(), class_colors(places).values(), strict=True):
        axes.scatter(points[:, 0], points[:, 1], s=18, color=color, label=literal(label), edgecolors="none")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_xlabel("first principal axis")
    axes.set_ylabel("second")
    axes.set_title("Segments: near ones look alike", fontsize="medium")
    figure.legend(loc="outside right upper", fontsize="small")
    return figure

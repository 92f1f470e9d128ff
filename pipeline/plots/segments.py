"""The self-similarity of a video with the segments that were found in it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pipeline.plots.colors import class_colors
from pipeline.plots.figures import literal, new_figure
from pipeline.plots.tsm import TsmView
from pipeline.plots.tsm_figure import _draw_legend, draw_panel, tsm_panels

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_INCHES = 5.5


def draw_segments(view: TsmView, labels: Sequence[str]) -> Figure:
    """Return a figure of the first matrix; lines at the boundaries, and bars in the labels' colors along both axes.

    Args:
        view: its segments are in order; the end of one is the start of the next.
        labels: of all videos, so that a label has one color in all pictures.
    """
    shown = {segment.label for segment in view.segments}
    colors = {label: color for label, color in class_colors(labels).items() if label in shown}
    figure = new_figure(_INCHES, _INCHES + 0.9, margin_inches=0.12)
    axes = figure.subplots()
    draw_panel(figure, axes, view, tsm_panels(view)[0], colors)
    for segment in view.segments[1:]:
        for line in (axes.axvline, axes.axhline):
            line(segment.segment[0], color="white", linewidth=0.5, alpha=0.8)
    axes.set_title(literal(f"Self-similarity of {view.video_id}"), fontsize="medium", pad=16)
    _draw_legend(figure, colors)
    return figure

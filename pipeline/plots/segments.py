"""The self-similarity of a video with the segments that were found in it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pipeline.annotations.segments import Segment
from pipeline.plots.figures import literal, new_figure
from pipeline.plots.tsm import Tsm
from pipeline.plots.tsm_figure import _color_range, _colors, _draw_legend, _draw_matrix, _draw_segments

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_INCHES = 5.5


def draw_segments(video_id: str, tsm: Tsm, segments: Sequence[Segment], labels: Sequence[str]) -> Figure:
    """Return a figure of the matrix; lines at the boundaries, and bars in the colors of the labels along both axes.

    Args:
        tsm: of features less their mean.
        segments: in order; the end of one is the start of the next.
        labels: of all videos, so that a label has one color in all pictures.
    """
    figure = new_figure(_INCHES, _INCHES + 0.9, margin_inches=0.12)
    axes = figure.subplots()
    image = _draw_matrix(axes, tsm.matrix, tsm, {"cmap": "magma", **_color_range([tsm.matrix])})
    for segment in segments[1:]:
        for line in (axes.axvline, axes.axhline):
            line(segment.segment[0], color="white", linewidth=0.5, alpha=0.8)
    shown = {segment.label for segment in segments}
    of_all = _colors([Segment((0.0, 0.0), label) for label in labels])
    colors = {label: of_all[label] for label in labels if label in shown}
    _draw_segments(axes, segments, colors)
    axes.set_title(literal(f"Self-similarity of {video_id}"), fontsize="medium", pad=16)
    figure.colorbar(image, ax=axes, location="bottom", shrink=0.8, label="similarity, (1 + cos) / 2, features centered")
    _draw_legend(figure, colors)
    return figure

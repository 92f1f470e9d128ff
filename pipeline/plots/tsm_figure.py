"""Draw a `pipeline.plots.tsm.TsmView`: matrices side by side, segments along both axes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.annotations.segments import Segment
from pipeline.plots.colors import class_colors
from pipeline.plots.figures import literal, new_figure
from pipeline.plots.tsm import Tsm, TsmView

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_PANEL_INCHES = 4.6
_LEGEND_COLUMNS = 6
_END_CELLS = 4


@dataclass(frozen=True)
class Panel:
    """One matrix of the picture: its title, its values, the cells' times, and how values become colors."""

    title: str
    matrix: np.ndarray
    tsm: Tsm
    style: dict[str, Any]


def tsm_panels(view: TsmView) -> list[Panel]:
    """Return each store's matrix in its own range, the difference if there are two stores, and the target."""
    panels = [Panel(tsm.title, tsm.matrix, tsm, {"cmap": "magma", **_color_range(tsm.matrix)}) for tsm in view.tsms]
    if len(view.tsms) == 2 and comparable(*view.tsms):
        change = view.tsms[1].matrix - view.tsms[0].matrix
        most = max(float(np.percentile(np.abs(inner_cells(change)), 99.5)), 1e-6)
        style = {"cmap": "RdBu_r", "vmin": -most, "vmax": most}
        panels.append(Panel("change: second less first (red: more alike)", change, view.tsms[1], style))
    style = {"cmap": "magma", "vmin": 0.5, "vmax": 1.0}  # the target is never below 0.5: unrelated, not opposed
    return [*panels, Panel(view.target_title, view.target, view.tsms[-1], style)]


def draw_tsm(view: TsmView) -> Figure:
    """Return the figure of all panels."""
    panels = tsm_panels(view)
    colors = class_colors(sorted({segment.label for segment in view.segments}))
    columns = 2 if len(panels) == 4 else len(panels)
    rows = len(panels) // columns
    legend_inches = 0.25 * -(-len(colors) // _LEGEND_COLUMNS)
    width, height = _PANEL_INCHES * columns, (_PANEL_INCHES + 0.8) * rows + 0.4 + legend_inches
    figure = new_figure(width, height, margin_inches=0.12)  # room for the bars between matrix and title
    figure.suptitle(literal(_title(view)))
    all_axes = figure.subplots(rows, columns, squeeze=False).flat
    for axes, panel in zip(all_axes, panels, strict=True):
        draw_panel(figure, axes, view, panel, colors)
        axes.set_title(literal(panel.title), fontsize="medium", pad=16 if colors else 6)
    if colors:
        _draw_legend(figure, colors)
    return figure


def draw_panel(figure: Figure, axes: Axes, view: TsmView, panel: Panel, colors: Mapping[str, str]) -> None:
    """Draw a matrix with the segments along it and the scale of its colors below.

    Args:
        colors: of each label of the view's segments.
    """
    image = _draw_matrix(axes, panel.matrix, panel.tsm, panel.style)
    _draw_segments(axes, view.segments, colors)
    label = _scale_label(view, panel.matrix, panel.style)
    bar = figure.colorbar(image, ax=axes, location="bottom", shrink=0.8, label=label)
    bar.ax.locator_params(nbins=5)  # numbers such as 0.9875 are wide


def _title(view: TsmView) -> str:
    bins = view.tsms[-1].bin_snippets
    binned = f", {bins} snippets a cell" if bins > 1 else ""
    return f"Temporal self-similarity of {view.video_id}{binned}"


def _scale_label(view: TsmView, matrix: np.ndarray, style: dict[str, Any]) -> str:
    what = "change of similarity" if style["cmap"] == "RdBu_r" else "similarity, (1 + cos) / 2"
    as_they_are = view.normalize == "none" or matrix is view.target
    return what if as_they_are else f"{what}, features centered"


def comparable(one: Tsm, two: Tsm) -> bool:
    """Return whether the cells of both mean the same times."""
    return one.matrix.shape == two.matrix.shape and one.bin_seconds == two.bin_seconds


def _color_range(matrix: np.ndarray) -> dict[str, float]:
    """Return the range of the values off the diagonal: the diagonal is always 1, the rest may lie close together."""
    cells = inner_cells(matrix)
    values = cells[np.triu_indices(len(cells), 1)]
    if len(values) == 0:
        return {"vmin": 0.0, "vmax": 1.0}
    low, high = np.percentile(values, [1, 99.5])
    return {"vmin": float(low), "vmax": float(max(high, low + 1e-6))}


def inner_cells(matrix: np.ndarray) -> np.ndarray:
    """Return the matrix without the cells at both ends: SoLa's padding affects them, so they would widen the range."""
    return matrix[_END_CELLS:-_END_CELLS, _END_CELLS:-_END_CELLS] if len(matrix) > 5 * _END_CELLS else matrix


def _draw_matrix(axes: Axes, matrix: np.ndarray, tsm: Tsm, style: dict[str, Any]) -> Any:
    start, end = tsm.start_seconds, tsm.start_seconds + len(matrix) * tsm.bin_seconds
    image = axes.imshow(matrix, extent=(start, end, end, start), interpolation="nearest", aspect="equal", **style)
    axes.set_xlim(start, tsm.end_seconds)  # the last bin may be shorter than its cell
    axes.set_ylim(tsm.end_seconds, start)
    axes.set_xlabel("seconds")
    axes.set_ylabel("seconds")
    return image


def _draw_segments(axes: Axes, segments: Sequence[Segment], colors: Mapping[str, str]) -> None:
    """Draw bars above and to the right of the matrix; overlapping segments lie in separate lanes."""
    if not segments:
        return
    lanes = _lanes(segments)
    share = 1 / (max(lanes) + 1)
    top = axes.inset_axes((0, 1.01, 1, 0.04), sharex=axes)
    right = axes.inset_axes((1.01, 0, 0.04, 1), sharey=axes)
    for segment, lane in zip(segments, lanes, strict=True):
        start, end = segment.segment
        style = {"color": colors[segment.label], "linewidth": 0}
        top.axvspan(start, end, lane * share, (lane + 1) * share, **style)
        right.axhspan(start, end, lane * share, (lane + 1) * share, **style)
    for strip in (top, right):
        strip.tick_params(left=False, bottom=False, labelleft=False, labelbottom=False)
        for spine in strip.spines.values():
            spine.set_linewidth(0.4)


def _lanes(segments: Sequence[Segment]) -> list[int]:
    """Return for each segment the first lane in which nothing overlaps it."""
    ends: list[float] = []
    lanes = [0] * len(segments)
    for number in sorted(range(len(segments)), key=lambda i: segments[i].segment):
        start, end = segments[number].segment
        lane = next((i for i, taken in enumerate(ends) if taken <= start), len(ends))
        ends[lane:] = [end, *ends[lane + 1 :]]
        lanes[number] = lane
    return lanes


def _draw_legend(figure: Figure, colors: Mapping[str, str]) -> None:
    from matplotlib.patches import Patch

    handles = [Patch(color=color, label=literal(label)) for label, color in colors.items()]
    figure.legend(handles=handles, loc="outside lower center", ncols=min(len(handles), _LEGEND_COLUMNS), frameon=False)

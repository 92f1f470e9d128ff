"""Contact sheets: pictures of videos with captions, in rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pipeline.plots.figures import literal, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_COLUMNS = 4
_CELL_INCHES = 2.2
_CAPTION_LETTERS = 34


@dataclass(frozen=True)
class Cell:
    """A picture, uint8 [H, W, 3], or None where there is none, and its caption."""

    picture: NDArray[np.uint8] | None
    caption: str


def draw_contact_sheet(title: str, cells: Sequence[Cell]) -> Figure:
    """Return a figure of the pictures in their order, four in a row."""
    rows = max(1, -(-len(cells) // _COLUMNS))
    figure = new_figure(_CELL_INCHES * _COLUMNS, (_CELL_INCHES * 0.95) * rows + 0.5)
    figure.suptitle(literal(title))
    all_axes = figure.subplots(rows, _COLUMNS, squeeze=False).flat
    for number, axes in enumerate(all_axes):
        axes.set_axis_off()
        if number >= len(cells):
            continue
        cell = cells[number]
        if cell.picture is not None:
            axes.imshow(cell.picture)
        axes.set_title(literal(_shortened(cell.caption)), fontsize="x-small")
    return figure


def _shortened(caption: str) -> str:
    """Keep the end of a long caption, where the time is."""
    return caption if len(caption) <= _CAPTION_LETTERS else "…" + caption[1 - _CAPTION_LETTERS :]

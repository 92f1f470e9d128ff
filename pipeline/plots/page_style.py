"""Figures for a page: SVG whose ink follows the reader's light or dark mode."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.storage.atomic_files import write_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Colors that stand for the page's own until the figure is written; nothing else is drawn in them.
_INK, _FAINT = "#0a0b0c", "#0a0b0d"
_STYLE = (
    "<style>:root{--ink:#1d2430;--faint:#8d97a5}"
    "@media(prefers-color-scheme:dark){:root{--ink:#e6eaf0;--faint:#76818f}}</style>"
)


@contextmanager
def page_style() -> Iterator[None]:
    """Draw the figures of the block without a ground, in the page's ink."""
    from matplotlib import rc_context

    ink = ("text.color", "axes.labelcolor", "axes.titlecolor", "xtick.labelcolor", "ytick.labelcolor")
    faint = ("axes.edgecolor", "xtick.color", "ytick.color", "grid.color")
    style: dict[Any, Any] = dict.fromkeys(ink, _INK) | dict.fromkeys(faint, _FAINT)
    style |= dict.fromkeys(("figure.facecolor", "axes.facecolor", "savefig.facecolor", "legend.facecolor"), "none")
    style["legend.framealpha"] = 0.0
    with rc_context(style):
        yield


def save_for_page(figure: Figure, file: Path) -> None:
    """Write the figure as SVG; its ink has one color on light ground and another on dark ground."""
    from matplotlib import rc_context

    text = io.StringIO()
    with rc_context({"svg.hashsalt": "sola-pipeline"}):
        figure.savefig(text, format="svg", metadata={"Date": None})
    head, opening, rest = text.getvalue().partition("<svg ")
    attributes, end, body = rest.partition(">")
    body = body.replace(_INK, "var(--ink)").replace(_FAINT, "var(--faint)")
    write_text(file, f"{head}{opening}{attributes}{end}{_STYLE}{body}")

"""What all pictures share: figures without pyplot's global state, files of both kinds, colors and marks.

Matplotlib is loaded when a picture is drawn, not before.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.errors import PipelineError
from pipeline.storage.atomic_files import whole_file
from pipeline.storage.location import AnyPath
from pipeline.text.plain import plain

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_KINDS = (".png", ".svg", ".pdf")
_DOTS_PER_INCH = 150


def new_figure(width_inches: float, height_inches: float, *, margin_inches: float = 0.04) -> Figure:
    """An empty figure that lays itself out; it is drawn in memory and needs no screen.

    Args:
        margin_inches: left free around each panel.

    Raises:
        PipelineError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
        from matplotlib.layout_engine import ConstrainedLayoutEngine
    except ImportError as error:
        raise PipelineError("matplotlib must be installed to draw, but is not; pip install matplotlib") from error
    layout = ConstrainedLayoutEngine(h_pad=margin_inches, w_pad=margin_inches)
    return Figure(figsize=(width_inches, height_inches), layout=layout)


def picture_files(out: Path) -> list[Path]:
    """The files to write for ``out``: itself where it ends in .png, .svg or .pdf; PNG and SVG where it has no suffix.

    Raises:
        PipelineError: any other suffix.
    """
    if out.suffix.lower() in _KINDS:
        return [out]
    if out.suffix:
        raise PipelineError(
            f"a picture must end in {', '.join(_KINDS)}, or have no suffix for both PNG and SVG; got {out}"
        )
    return [out.with_name(out.name + suffix) for suffix in (".png", ".svg")]


def save_figure(figure: Figure, files: Sequence[AnyPath]) -> None:
    """Writes the figure to each file in one step; the suffix says in which form. Equal figures are equal files."""
    from matplotlib import rc_context

    for file in files:
        kind = file.suffix.lower()[1:]
        # Dates would differ.
        metadata = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(kind)
        # As would the names of an SVG's parts, which are random where no salt is given.
        with rc_context({"svg.hashsalt": "sola-pipeline"}), whole_file(file) as partial:
            figure.savefig(partial, format=kind, dpi=_DOTS_PER_INCH, metadata=metadata)


def literal(text: str) -> str:
    """The text as matplotlib shows it unchanged: no formulas between dollar signs, no hidden legend entries, none of
    the control characters that XML does not allow."""
    return (" " if text.startswith("_") else "") + plain(text).replace("$", r"\$")

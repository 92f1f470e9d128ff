"""Helpers of all pictures: figures without pyplot's global state, files in both formats, colors and marks.

Matplotlib is loaded only when a picture is drawn.
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
    """Return an empty figure with automatic layout; it is drawn in memory and needs no screen.

    Args:
        width_inches, height_inches: of the figure.
        margin_inches: free space around each panel.

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
    """Return the files to write for `out`: itself if it ends in .png, .svg or .pdf; PNG and SVG if it has no suffix.

    Raises:
        PipelineError: `out` has another suffix.
    """
    if out.suffix.lower() in _KINDS:
        return [out]
    if out.suffix:
        raise PipelineError(
            f"a picture must end in {', '.join(_KINDS)}, or have no suffix for both PNG and SVG; got {out}"
        )
    return [out.with_name(out.name + suffix) for suffix in (".png", ".svg")]


def save_figure(figure: Figure, files: Sequence[AnyPath]) -> None:
    """Write the figure to each file atomically, in the format of the suffix. Equal figures give equal files."""
    from matplotlib import rc_context

    for file in files:
        kind = file.suffix.lower()[1:]
        # Dates would differ.
        metadata = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(kind)
        # So would the names of an SVG's parts, which are random without a salt.
        with rc_context({"svg.hashsalt": "sola-pipeline"}), whole_file(file) as partial:
            figure.savefig(partial, format=kind, dpi=_DOTS_PER_INCH, metadata=metadata)


def literal(text: str) -> str:
    """Escape a text so that matplotlib shows it unchanged.

    No formulas between dollar signs, no hidden legend entries, and no control characters, which XML does not allow.
    """
    return (" " if text.startswith("_") else "") + plain(text).replace("$", r"\$")

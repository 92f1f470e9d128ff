"""The options of a comparison."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class CompareConfig:
    """The data of a comparison, and which of its rows to make; its file says the rest."""

    videos: Path | None = None
    """Untrimmed videos: a file, a folder, or a list. Default: as in the file."""

    annotations: Path | None = None
    """Ground truth of the videos, in any form that `annotations` reads. Default: as in the file."""

    clips: Path | None = None
    """Trimmed clips in class folders: for start weights, videos that are stitched, bsp and longer pretraining. Default:
    as in the file."""

    rows: tuple[str, ...] = ()
    """Make only these rows, and the frozen encoder: filters, published, sola, longer, tac, tsp, bsp, bsp_alone, pal,
    end_to_end, end_to_end_fresh. Default: as in the file, or all."""

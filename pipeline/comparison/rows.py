"""The rows of a comparison: what each is called, which labels it sees, and which encoder its features come from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from sola.config import preset
from sola.filters import FILTERS

START, END_TO_END, LONGER = "start", "end_to_end", "longer"
NO_LABELS, CLASSES, SEGMENTS = "none", "classes of clips", "segments"


@dataclass(frozen=True)
class Row:
    """A way to features and detections.

    Args:
        key: its name in files and folders.
        title: its name in tables.
        labels: what is used beside the start weights and the head, which sees segments in all rows.
        encoder: whose features it uses: `START`, a pretext task, `LONGER` or `END_TO_END`.
        options: of its cell, by dotted names as in an ablation.
        beside_start: whether its features stand beside those of the start weights.
        joint: whether the head that was trained with the encoder is kept, in place of a fresh one.
    """

    key: str
    title: str
    labels: str
    encoder: str = START
    options: Mapping[str, Any] = field(default_factory=lambda: {"use_sola": False})
    beside_start: bool = False
    joint: bool = False


def _published() -> dict[str, Any]:
    return {f"sola.{name}": value for name, value in asdict(preset("hacs")).items() if name not in ("seed", "device")}


def all_rows() -> dict[str, Row]:
    """Return the rows that there are, by key, in the order of the table."""
    rows = [
        Row("standard", "standard (frozen)", NO_LABELS),
        *(Row(name, f"filter {name}", NO_LABELS, options={"filter": name}) for name in FILTERS),
        Row("published", "SoLa as published", NO_LABELS, options=_published()),
        Row("sola", "SoLa, own settings", NO_LABELS, options={}),
        Row("longer", "longer pretraining", CLASSES, LONGER),
        Row("tac", "TAC", SEGMENTS, "tac"),
        Row("tsp", "TSP", SEGMENTS, "tsp"),
        Row("bsp", "BSP", CLASSES, "bsp", beside_start=True),
        Row("bsp_alone", "BSP, its features alone", CLASSES, "bsp"),
        Row("pal", "after PAL", NO_LABELS, "pal"),
        Row("end_to_end", "end to end, joint head", SEGMENTS, END_TO_END, joint=True),
        Row("end_to_end_fresh", "end to end, fresh head", SEGMENTS, END_TO_END),
    ]
    return {row.key: row for row in rows}

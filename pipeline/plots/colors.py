"""The colors that pictures share: a class has the same one in every picture and on every page."""

from __future__ import annotations

import colorsys
from collections.abc import Iterable

# After Okabe and Ito's colors, which people with color blindness tell apart; for lines on light and dark ground.
WAY_COLORS = ("#2a82c8", "#dd6b10", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
_GOLDEN_ANGLE = 0.381966  # of a turn: neighbors in the list differ, however long it is


def class_colors(labels: Iterable[str]) -> dict[str, str]:
    """Return a color for each label as `#rrggbb`, by its place; all are light enough for dark text."""
    return {label: _class_color(place) for place, label in enumerate(labels)}


def _class_color(place: int) -> str:
    lightness = (0.70, 0.58, 0.80)[place // 10 % 3]  # after ten the hues come close
    parts = colorsys.hls_to_rgb((0.57 + place * _GOLDEN_ANGLE) % 1, lightness, 0.62)
    return "#" + "".join(f"{round(255 * part):02x}" for part in parts)

"""Segments that overlap, as a row of pieces that do not; and times as people and players write them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

from pipeline.annotations.segments import Detection


@dataclass(frozen=True)
class Piece:
    """Whole milliseconds `[start, end)` during which the same segments go on; `items` in the order of their start."""

    start: int
    end: int
    items: tuple[Detection, ...]


def pieces_of(items: Iterable[Detection]) -> list[Piece]:
    """Return the pieces of a video in order; none where no segment goes on.

    Of several segments of one label a piece has the one of highest score. Neighbors with the same segments are one
    piece. Times before 0 are cut off, and so are segments of less than half a millisecond.
    """
    spans = [(max(0, milliseconds(item.segment[0])), milliseconds(item.segment[1]), item) for item in items]
    spans = sorted((span for span in spans if span[0] < span[1]), key=lambda span: span[:2])
    bounds = sorted({bound for start, end, _ in spans for bound in (start, end)})
    pieces: list[Piece] = []
    active: list[tuple[int, int, Detection]] = []
    coming = 0
    for start, end in pairwise(bounds):
        active = [span for span in active if span[1] > start]
        while coming < len(spans) and spans[coming][0] <= start:
            active.append(spans[coming])
            coming += 1
        shown = _best_of_each_label(item for _, _, item in active)
        if pieces and pieces[-1].end == start and pieces[-1].items == shown:
            pieces[-1] = Piece(pieces[-1].start, end, shown)
        elif shown:
            pieces.append(Piece(start, end, shown))
    return pieces


def _best_of_each_label(items: Iterable[Detection]) -> tuple[Detection, ...]:
    best: dict[str, Detection] = {}
    for item in items:
        if item.label not in best or item.score > best[item.label].score:
            best[item.label] = item
    return tuple(best.values())


def milliseconds(seconds: float) -> int:
    """Return the nearest whole millisecond."""
    return round(seconds * 1000)


def time_code(milliseconds: int, point: str = ".") -> str:
    """Return a time as subtitles have it: 01:02:03.450."""
    seconds, rest = divmod(milliseconds, 1000)
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}{point}{rest:03}"

"""The rows of TAC and TSP: annotated segments and the gaps between them, and where their clips start.

Positions are cells of the encoder's frame grid: cell n shows the frame in the middle of the cell, at (n + 1/2) / fps
seconds. A cell lies in a row if this middle does.

Source: TSP (Alwassel et al. 2021), section 3; its released training files.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import NamedTuple

import numpy as np

from pipeline.annotations import VideoAnnotations
from pipeline.annotations.splitting import Split, split
from pipeline.errors import PipelineError
from pipeline.pretraining.annotated_segments import gaps
from pipeline.pretraining.tsp_config import TspConfig
from pipeline.snippets import exact
from pipeline.text.plain import counted, first_of

_HALF = Fraction(1, 2)
_OF_STARTS = 11  # keeps the random numbers of starts apart from others of the same seed


@dataclass(frozen=True)
class Row:
    """A segment or a gap, from which each epoch takes clips.

    Args:
        video: its id.
        label: the class; None for a gap, which shows no action.
        span: (start, end) in seconds, within the video.
        first: the first cell at which a clip may start.
        spare: by how many cells the last start lies behind the first.
        index: number of the row among all rows of its part, which seeds its clips.
    """

    video: str
    label: str | None
    span: tuple[float, float]
    first: int
    spare: int
    index: int = 0


class Parts(NamedTuple):
    """Rows to learn from; of videos of the training subset that choose the epoch; and of the validation subset."""

    training: list[Row]
    held_out: list[Row]
    validation: list[Row]


@dataclass(frozen=True)
class ClipGrid:
    """The length of a clip, in cells of a grid of `fps` a second."""

    fps: Fraction
    window: int

    def total(self, duration: Fraction) -> int:
        """Return the number of cells of a video of `duration` seconds."""
        return _cell(duration * self.fps)


def rows_of_video(
    video: VideoAnnotations, duration: Fraction, grid: ClipGrid, config: TspConfig, *, with_gaps: bool
) -> tuple[list[Row], Counter[str]]:
    """Return the rows of one video, ordered by time, and how many segments and gaps went where.

    Segments are cut to the video. Overlapping ones keep a row each. Gaps are what no segment covers, not even an
    ambiguous one.

    Args:
        duration: of the file, in seconds; it holds at least one clip. What the annotations say of it is not used.
        with_gaps: whether gaps are rows too.

    Returns:
        The counts have the keys `segments`, `centered`, `short segments`, `beyond the end`, `gaps`, `short gaps`.
    """
    end = float(duration)
    inside = [replace(s, segment=(s.segment[0], min(s.segment[1], end))) for s in video.segments if s.segment[0] < end]
    rows: list[Row] = []
    counts = Counter({"beyond the end": len(video.segments) - len(inside)})
    for span, label in {(segment.segment, segment.label): None for segment in inside}:
        first, spare = _starts(span, grid)
        if spare >= 0:
            counts["segments"] += 1
        elif config.short_segments == "drop":
            counts["short segments"] += 1
            continue
        else:
            counts["segments"] += 1
            counts["centered"] += 1
            first, spare = _centered(span, duration, grid), 0
        rows.append(Row(video.id, label, span, first, spare))
    shortest = exact(config.min_gap_clips) * grid.window / grid.fps
    known = replace(video, segments=tuple(inside), duration=end)
    for start, stop in gaps(known) if with_gaps else ():
        span = (start, min(stop, end))
        first, spare = _starts(span, grid)
        if spare < 0 or exact(span[1]) - exact(start) < shortest:
            counts["short gaps"] += 1
            continue
        counts["gaps"] += 1
        rows.append(Row(video.id, None, span, first, spare))
    return sorted(rows, key=lambda row: (row.span, row.label or "")), counts


def _starts(span: tuple[float, float], grid: ClipGrid) -> tuple[int, int]:
    """Return the first start of a clip wholly in `span`, and the cells from there to the last, < 0 for none."""
    first, end = (_cell(exact(time) * grid.fps) for time in span)
    return first, end - grid.window - first


def _centered(span: tuple[float, float], duration: Fraction, grid: ClipGrid) -> int:
    middle = (exact(span[0]) + exact(span[1])) / 2 * grid.fps
    start = math.floor(middle - Fraction(grid.window, 2) + _HALF)
    return max(0, min(start, grid.total(duration) - grid.window))


def _cell(position: Fraction) -> int:
    """Return the first cell whose middle is not before `position`, in cells."""
    return math.ceil(position - _HALF)


def numbered(rows: Sequence[Row]) -> list[Row]:
    """Return the rows with their numbers."""
    return [replace(row, index=index) for index, row in enumerate(rows)]


def training_starts(row: Row, *, seed: int, epoch: int, count: int) -> list[int]:
    """Return the starts of a row's clips in an epoch, in cells: a function of seed, epoch, row and clip only."""
    rng = np.random.default_rng([_OF_STARTS, seed, epoch, row.index])
    return [row.first + int(offset) for offset in rng.integers(row.spare + 1, size=count)]


def even_starts(row: Row, *, count: int) -> list[int]:
    """Return `count` starts of clips, in cells, evenly over a row with both ends; a single one is in the middle."""
    if count == 1:
        return [row.first + row.spare // 2]
    return [row.first + (2 * row.spare * k + count - 1) // (2 * (count - 1)) for k in range(count)]


def videos_held_out(rows: Sequence[Row], *, share: float, seed: int) -> Split:
    """Return the videos of the training subset that choose the epoch; each class keeps a video to learn from.

    Raises:
        PipelineError: no video can be spared.
    """
    if not 0 < share < 1:
        raise PipelineError(f"validation_share must be > 0 and < 1, got {share}")
    classes: dict[str, set[str]] = {row.video: set() for row in rows}
    for row in rows:
        if row.label is not None:
            classes[row.video].add(row.label)
    found = split(classes, share=share, seed=seed)
    if not found.validation:
        why = (
            f"each has the only segments of a class ({first_of(found.one_sided)})" if len(classes) > 1 else "it is one"
        )
        raise PipelineError(
            f"no video of the {counted(len(classes), 'training video')} can be held out to choose the epoch: {why}; "
            "annotate more videos"
        )
    return found


def rows_in_words(counts: Counter[str], config: TspConfig) -> str:
    """Return what became of segments and gaps."""
    notes = {
        "segments": (
            (counts["centered"], "shorter than a clip, taken around the middle"),
            (counts["short segments"], "more shorter than a clip left out"),
            (counts["beyond the end"], "more behind the end of the video left out"),
        ),
        "gaps": ((counts["short gaps"], f"more shorter than {config.min_gap_clips:g} x a clip left out"),),
    }
    words = []
    for kind, of_kind in notes.items():
        said = [f"{number} {text}" for number, text in of_kind if number]
        if counts[kind] or said:
            words.append(counted(counts[kind], kind[:-1]) + (f" ({', '.join(said)})" if said else ""))
    return ", ".join(words) or "none"

"""Which frames of a running video make which snippets: integer arithmetic on ticks, one pass, front to back."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

from pipeline.snippets import SnippetPlan


@dataclass(frozen=True)
class SnippetFrames:
    """A completed snippet: its row and, for each of its F frames, the ordinal of a kept frame of the video."""

    row: int
    ordinals: tuple[int, ...]


@dataclass
class _Open:
    row: int
    ordinals: list[int]


class Schedule:
    """Told of one frame after another, says which are needed and which snippets they complete.

    Frames are given by the half-open interval of ticks in which they are shown, counted from the first frame of
    the video. Kept frames are numbered 0, 1, 2, …: their ordinals. `kept` is the next.

    Args:
        first_row, end_row: the snippets that are wanted; None: all from the first on.
    """

    def __init__(
        self, plan: SnippetPlan, time_base: Fraction, *, first_row: int = 0, end_row: int | None = None
    ) -> None:
        self.plan = plan
        self.time_base = time_base
        # The k-th time of snippet i, in ticks, is (i * stride + time k of snippet 0) / time_base. Over a common
        # denominator these are whole numbers, so that a million snippets cost no fraction arithmetic.
        offsets = [time / time_base for time in plan.frame_times(0)]
        stride = plan.stride_seconds / time_base
        window = plan.window_seconds / time_base
        self._denominator = math.lcm(stride.denominator, window.denominator, *(o.denominator for o in offsets))
        self._stride = int(stride * self._denominator)
        self._window = int(window * self._denominator)
        self._offsets = [int(offset * self._denominator) for offset in offsets]
        self._open: deque[_Open] = deque()
        self._next_row = first_row
        self._end_row = end_row
        self.kept = 0

    def advance(self, start: int, end: int | None, *, rows: int | None = None) -> tuple[bool, Iterator[SnippetFrames]]:
        """Whether the frame shown during ``[start, end)`` is needed, and the snippets complete at its end.

        The snippets are made as they are asked for, since a frame that is shown for hours completes very many; all are
        to be taken before the next frame.

        Args:
            start: first tick of the frame; the first frame of a video has 0, later ones no less than the end of
                the one before.
            end: the tick at which the next frame is shown; None for the last frame, which is repeated to
                complete what is open.
            rows: with ``end=None``, T: the number of snippets that the video has.
        """
        needed = self._opens_before(end, rows) or any(self._lacks(snippet, end) for snippet in self._open)
        return needed, self._complete(needed, end, rows)

    def _complete(self, needed: bool, end: int | None, rows: int | None) -> Iterator[SnippetFrames]:
        for snippet in self._open:
            self._fill(snippet, end)
        while True:
            while self._open and self._is_complete(self._open[0], end, rows):
                done = self._open.popleft()
                yield SnippetFrames(done.row, tuple(done.ordinals))
            if not self._opens_before(end, rows):
                break
            self._open.append(_Open(self._next_row, []))
            self._next_row += 1
            self._fill(self._open[-1], end)
        self.kept += needed

    @property
    def oldest(self) -> int:
        """The smallest ordinal that a snippet still to be completed may need."""
        return self._open[0].ordinals[0] if self._open else self.kept

    def _tick(self, row: int, k: int) -> int:
        return (row * self._stride + self._offsets[k]) // self._denominator

    @property
    def is_done(self) -> bool:
        """Whether all snippets up to ``end_row`` are complete."""
        return self._next_row == self._end_row and not self._open

    def _opens_before(self, end: int | None, rows: int | None) -> bool:
        if self._next_row == self._end_row:
            return False
        if end is None:
            return rows is not None and self._next_row < rows
        return self._tick(self._next_row, 0) < end

    def _lacks(self, snippet: _Open, end: int | None) -> bool:
        """Whether a time of ``snippet`` lies before ``end`` and has no frame yet."""
        place = len(snippet.ordinals)
        return place < len(self._offsets) and (end is None or self._tick(snippet.row, place) < end)

    def _fill(self, snippet: _Open, end: int | None) -> None:
        """Gives the current frame to every time of ``snippet`` that lies before ``end`` and has none yet."""
        while self._lacks(snippet, end):
            snippet.ordinals.append(self.kept)

    def _is_complete(self, snippet: _Open, end: int | None, rows: int | None) -> bool:
        if end is None:
            return rows is not None and snippet.row < rows
        # The whole window must lie inside the video, or tail="drop" could not drop it.
        window_end = snippet.row * self._stride + self._window
        return len(snippet.ordinals) == len(self._offsets) and window_end <= end * self._denominator


def most_frames_held(plan: SnippetPlan) -> int:
    """The most kept frames that lie between the oldest and the newest frame of one window, for any video.

    Frames are kept only for the times that snippets ask for, so this is the largest number of different times
    inside one window, however many frames a second the video has.
    """
    plan = plan.at(Fraction(1))  # the number is the same at any rate
    # The pattern of times repeats with every stride: one snippet in the middle of enough neighbors shows it.
    overlap = math.ceil(plan.window_seconds / plan.stride_seconds) + 1
    times = {time for row in range(2 * overlap + 1) for time in plan.frame_times(row)}
    start = overlap * plan.stride_seconds
    return sum(start <= time < start + plan.window_seconds for time in times) + 1

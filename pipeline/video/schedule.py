"""Assign the frames of a video to snippets: integer arithmetic on ticks, one pass, front to back."""

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
    """Decides for one frame after another whether it is needed and which snippets it completes.

    A frame is the half-open interval of ticks during which it is shown, counted from the first frame of the video. Kept
    frames are numbered 0, 1, 2, …: their ordinals. `kept` is the next ordinal.

    Args:
        first_row, end_row: the wanted snippets; end_row None: all from the first on.
    """

    def __init__(
        self, plan: SnippetPlan, time_base: Fraction, *, first_row: int = 0, end_row: int | None = None
    ) -> None:
        self.plan = plan
        self.time_base = time_base
        # The k-th time of snippet i, in ticks, is (i * stride + time k of snippet 0) / time_base. Over a common
        # denominator these are whole numbers, so a million snippets need no fraction arithmetic.
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
        """Return whether the frame shown during `[start, end)` is needed, and the snippets complete at its end.

        The snippets are made lazily, because a frame that is shown for hours completes very many. Take all of them
        before the next frame.

        Args:
            start: first tick of the frame; 0 for the first frame of a video, later at least the previous end.
            end: the tick at which the next frame is shown; None for the last frame, which is repeated to complete the
                open snippets.
            rows: with `end=None`, T: the number of snippets of the video.
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
        """The smallest ordinal that an unfinished snippet may need."""
        return self._open[0].ordinals[0] if self._open else self.kept

    def _tick(self, row: int, k: int) -> int:
        return (row * self._stride + self._offsets[k]) // self._denominator

    @property
    def is_done(self) -> bool:
        """Whether all snippets up to `end_row` are complete."""
        return self._next_row == self._end_row and not self._open

    def _opens_before(self, end: int | None, rows: int | None) -> bool:
        if self._next_row == self._end_row:
            return False
        if end is None:
            return rows is not None and self._next_row < rows
        return self._tick(self._next_row, 0) < end

    def _lacks(self, snippet: _Open, end: int | None) -> bool:
        """Return whether a time of `snippet` lies before `end` and has no frame yet."""
        place = len(snippet.ordinals)
        return place < len(self._offsets) and (end is None or self._tick(snippet.row, place) < end)

    def _fill(self, snippet: _Open, end: int | None) -> None:
        """Assign the current frame to every time of `snippet` before `end` that has no frame yet."""
        while self._lacks(snippet, end):
            snippet.ordinals.append(self.kept)

    def _is_complete(self, snippet: _Open, end: int | None, rows: int | None) -> bool:
        if end is None:
            return rows is not None and snippet.row < rows
        # Wait until the whole window lies inside the video; else tail="drop" could not drop the snippet.
        window_end = snippet.row * self._stride + self._window
        return len(snippet.ordinals) == len(self._offsets) and window_end <= end * self._denominator


def most_frames_held(plan: SnippetPlan) -> int:
    """Return the most kept frames between the oldest and the newest frame of one window, for any video.

    Frames are kept only for the times of snippets, so this is the largest number of different times inside one window,
    at any frame rate of the video.
    """
    plan = plan.at(Fraction(1))  # the number is the same at any rate
    # The pattern of times repeats with every stride: one snippet in the middle, with enough neighbors, shows it.
    overlap = math.ceil(plan.window_seconds / plan.stride_seconds) + 1
    times = {time for row in range(2 * overlap + 1) for time in plan.frame_times(row)}
    start = overlap * plan.stride_seconds
    return sum(start <= time < start + plan.window_seconds for time in times) + 1

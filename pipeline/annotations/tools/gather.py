"""Collect the segments that a reader finds, video by video."""

from __future__ import annotations

from collections import Counter
from typing import Any

from pipeline.annotations.raw import RawAnnotations, RawSegment, RawVideo
from pipeline.text.plain import counted


class Gather:
    """Segments, facts on videos, losses and faults of a file.

    Args:
        dialect: the format's short name.
    """

    def __init__(self, dialect: str) -> None:
        self._dialect = dialect
        self._segments: dict[str, list[RawSegment]] = {}
        self._facts: dict[str, dict[str, Any]] = {}
        self._faults: list[str] = []
        self._losses: Counter[tuple[str, str]] = Counter()
        self._notes: dict[str, None] = {}

    def video(self, video: str, **facts: Any) -> None:
        """Add a video, with what the file says about it: subset, duration, fps, frames."""
        self._segments.setdefault(video, [])
        known = self._facts.setdefault(video, {})
        known |= {name: value for name, value in facts.items() if value is not None and name not in known}

    def segment(self, video: str, bounds: Any, label: Any, *, where: str, **more: Any) -> None:
        """Add a segment; its bounds and label are checked later."""
        self.video(video)
        self._segments[video].append(RawSegment(bounds, label, where=where, **more))

    def fault(self, where: str, what: str) -> None:
        """Add what cannot be read at a place."""
        self._faults.append(f"{where}: {what}")

    def leave_out(self, thing: str, which: str) -> None:
        """Count one thing of the file that is not kept; equal ones are told in one line."""
        self._losses[thing, which] += 1

    def note(self, line: str) -> None:
        """Add a line on what is odd; equal ones are told once."""
        self._notes[line] = None

    def result(self, *notes: str) -> RawAnnotations:
        """Return all of it, with further notes."""
        losses = [f"left out: {counted(count, thing)} {which}" for (thing, which), count in self._losses.items()]
        return RawAnnotations(
            dialect=self._dialect,
            videos=[RawVideo(name, found, **self._facts[name]) for name, found in self._segments.items()],
            losses=(*losses, *self._notes, *notes),
            faults=tuple(self._faults),
        )

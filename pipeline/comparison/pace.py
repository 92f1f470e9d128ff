"""How far a comparison is: rows done of all, and the time that the rest will take."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from pipeline.comparison.rows import LONGER, START, Row
from pipeline.text.table import duration


def rows_by_encoder(rows: Sequence[Row]) -> list[tuple[str, list[Row]]]:
    """Return the encoders in the order of their training, each with its rows.

    The start weights come first, since their rows are there at once; longer pretraining comes last, since it is as long
    as another one.
    """
    encoders = sorted({row.encoder: None for row in rows}, key=lambda name: (name != START, name == LONGER))
    return [(name, [row for row in rows if row.encoder == name]) for name in encoders]


class Pace:
    """The steps of a comparison: for each seed an encoder for each method, and each row.

    A step that is still to come is taken to last as long as it did with another seed, or else as the mean of its kind:
    training an encoder, or making a row.

    Args:
        rows: of a seed.
        seeds: their number.
    """

    def __init__(self, rows: Sequence[Row], seeds: int) -> None:
        trained = [name for name, _ in rows_by_encoder(rows) if name != START]
        self._left = dict.fromkeys([*(("encoder", n) for n in trained), *(("row", r.key) for r in rows)], seeds)
        self._known: dict[tuple[str, str], list[float]] = {}
        self._rows, self._done = seeds * len(rows), 0

    @contextmanager
    def step(self, kind: str, name: str) -> Iterator[list[float]]:
        """Time a step, "encoder" or "row", that runs inside.

        Yields:
            An empty list: the seconds of a step that was finished before go there, and count in place of the time now.
        """
        began = time.monotonic()
        before: list[float] = []
        yield before
        self._known.setdefault((kind, name), []).append(before[0] if before else time.monotonic() - began)
        self.skip(kind, name)

    def skip(self, kind: str, name: str) -> None:
        """Count a step as done that tells nothing about the time of others."""
        self._left[kind, name] -= 1
        self._done += kind == "row"

    def seconds_left(self) -> float | None:
        """Return the seconds that the rest will take; None as long as no step of one of its kinds is known."""
        seconds = 0.0
        for (kind, name), count in self._left.items():
            of_kind = [one for (other, _), several in self._known.items() if other == kind for one in several]
            known = self._known.get((kind, name), of_kind)
            if count and not known:
                return None
            seconds += count * sum(known) / max(1, len(known))
        return seconds

    def text(self) -> str:
        """Return both in words."""
        left = self.seconds_left()
        time_left = "" if left is None or not any(self._left.values()) else f", about {duration(left)} left"
        return f"{self._done} of {self._rows} rows done{time_left}"

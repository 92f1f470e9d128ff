"""What is wrong or odd in annotations: faults, which stop a command or are left out, and notes."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection
from typing import Any

from pipeline.annotations.model import canonical_subset
from pipeline.errors import PipelineError
from pipeline.text.plain import counted

_EXAMPLES = 3


class Notes:
    """Observations, counted by kind, with a few examples of each."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._examples: dict[str, list[str]] = defaultdict(list)

    def add(self, kind: str, example: str) -> None:
        self._counts[kind] += 1
        if len(self._examples[kind]) < _EXAMPLES:
            self._examples[kind].append(example)

    def total(self) -> int:
        return self._counts.total()

    def lines(self) -> tuple[str, ...]:
        """Return one line for each kind: the count, the kind, examples."""
        return tuple(
            f"{count} {kind if count > 1 else _singular(kind)} ("
            + "; ".join(self._examples[kind])
            + ("; …)" if count > _EXAMPLES else ")")
            for kind, count in self._counts.items()
        )


def _singular(kind: str) -> str:
    """Return the kind in the singular: its first word, and the pronoun that refers to it."""
    first, _, rest = kind.partition(" ")
    return f"{first.removesuffix('s')} {rest.replace('their ', 'its ')}"


class Fault(Exception):
    """A value that cannot be fixed automatically; the message names it and the remedy."""


class FaultyAnnotationsError(PipelineError):
    """Annotations have faults. The message tells the first; `lines` has all of them."""

    def __init__(self, message: str, lines: list[str] | None = None) -> None:  # the message alone when unpickled
        super().__init__(message)
        self.lines = [message] if lines is None else lines


class Faults:
    """Faults that cannot be fixed automatically: errors in the subsets in use, notes in the others.

    Args:
        subsets: the subsets in use; None for all.
        notes: receives the faults of other subsets.

    Attributes:
        noted: number of these.
    """

    def __init__(self, subsets: Collection[str] | None, notes: Notes) -> None:
        self._wanted = None if subsets is None else {canonical_subset(name) for name in subsets}
        self._notes = notes
        self._lines: list[str] = []
        self.noted = 0

    def add(self, line: str, *, subset: Any) -> None:
        """Add a fault of a video of `subset`."""
        wanted = self._wanted is None or (isinstance(subset, str) and canonical_subset(subset) in self._wanted)
        if wanted or (self._wanted and not isinstance(subset, str)):
            self._lines.append(line)
        else:
            self.noted += 1
            what, _, _ = line.partition("; ")  # without the remedy
            self._notes.add(f"faults {'in subsets that are not in use, ' if self._wanted else ''}left out", what)

    def refuse(self, *, source: str) -> None:
        """Raise one error for all faults: the first fault and the number of the others.

        Raises:
            FaultyAnnotationsError: there are faults.
        """
        if self._lines:
            more = f" (and {counted(len(self._lines) - 1, 'more fault')} in this file)" if len(self._lines) > 1 else ""
            raise FaultyAnnotationsError(f"annotations {source}: {self._lines[0]}{more}", self._lines)

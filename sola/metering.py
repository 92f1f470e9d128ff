"""What a training has taken so far, kept in its checkpoints, so that a resumed training counts each step once.

Whoever counts (see `pipeline.comparison.costs`) hands in a meter; without one, checkpoints stay as they are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Protocol

_KEY = "operations"


class Meter(Protocol):
    """Counts the operations of a training."""

    def at_checkpoint(self) -> float:
        """Return the operations so far: those that the checkpoint makes unnecessary."""

    def resume(self, operations: float) -> None:
        """Go on from a checkpoint that took so many operations, in place of those so far."""


_METER: ContextVar[Meter | None] = ContextVar("meter", default=None)


@contextmanager
def counted_by(meter: Meter) -> Iterator[None]:
    """Let the checkpoints of trainings inside hold what the meter counts."""
    token = _METER.set(meter)
    try:
        yield
    finally:
        _METER.reset(token)


def is_counted() -> bool:
    """Return whether somebody counts, so that a checkpoint before the first step is of use."""
    return _METER.get() is not None


def with_operations(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return the content of a checkpoint together with the operations so far, if somebody counts them."""
    meter = _METER.get()
    return dict(content) if meter is None else {**content, _KEY: meter.at_checkpoint()}


def go_on_from(content: Mapping[str, Any]) -> None:
    """Tell the meter, if there is one, that a training goes on from a checkpoint with this content."""
    meter, operations = _METER.get(), content.get(_KEY)
    if meter is not None and isinstance(operations, float):
        meter.resume(operations)

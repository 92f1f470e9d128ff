"""Walk over JSON values whose parts may be anything."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pipeline.annotations.tools.gather import Gather


def objects(value: Any, where: str, found: Gather) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the objects of a list with their places, or those of an object by key; other parts are faults."""
    if isinstance(value, dict):
        items = list(value.items())
    elif isinstance(value, list):
        items = list(enumerate(value))
    else:
        found.fault(where, f"must be a list of objects, got {value!r:.60}")
        return
    for key, item in items:
        if isinstance(item, dict):
            yield f"{where}/{key}", item
        else:
            found.fault(f"{where}/{key}", f"must be an object, got {item!r:.60}")


def objects_in(value: dict[str, Any], name: str, where: str, found: Gather) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the objects in a field, as `objects` does; nothing if the field is absent or null."""
    if value.get(name) is not None:
        yield from objects(value[name], f"{where}/{name}".lstrip("/"), found)

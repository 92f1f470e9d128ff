"""Which small objects to read together, so that each does not cost a round trip."""

from __future__ import annotations

_MOST_AHEAD = 128  # objects in a batch


class ReadAhead:
    """Small objects of a folder, read in batches that grow while the objects are read in order."""

    def __init__(self, names: list[str]) -> None:
        self._names = names
        self._place = {name: place for place, name in enumerate(names)}
        self._next = -1  # place after the last batch
        self._count = 1
        self._kept: dict[str, bytes] = {}

    def following(self, name: str) -> list[str]:
        """Return the names to read together with `name`; none if `name` is not in the list."""
        place = self._place.get(name)
        if place is None:
            return []
        in_order = self._next <= place <= self._next + self._count
        self._count = min(_MOST_AHEAD, 2 * self._count) if in_order else 1
        self._kept.clear()
        self._next = place + self._count
        return self._names[place + 1 : self._next]

    def keep(self, name: str, data: bytes) -> None:
        self._kept[name] = data

    def take(self, name: str) -> bytes | None:
        return self._kept.pop(name, None)

    def forget(self, name: str) -> None:
        self._kept.pop(name, None)

"""Which clips can become part of a clip with a boundary, and how they are drawn: a class first, then a clip of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from pipeline.errors import PipelineError
from pipeline.text.plain import counted

_Item = TypeVar("_Item")


@dataclass(frozen=True)
class Source:
    """A clip to make others of: its class, the group of its video, its file, and its number of grid frames."""

    label: str
    group: str
    file: str
    frames: int


class Lot:
    """Clips, by their number, in units (files or groups) of classes.

    Args:
        clips: class, unit and number of each clip.
    """

    def __init__(self, clips: Iterable[tuple[str, str, int]]) -> None:
        self._classes: dict[str, dict[str, list[int]]] = {}
        for label, unit, number in clips:
            self._classes.setdefault(label, {}).setdefault(unit, []).append(number)

    def __bool__(self) -> bool:
        return bool(self._classes)

    def units(self) -> dict[str, int]:
        """Return the number of units of each class."""
        return {label: len(units) for label, units in self._classes.items()}

    def without_lone(self) -> Lot:
        """Return the classes that have two units or more."""
        kept = Lot(())
        kept._classes = {label: units for label, units in self._classes.items() if len(units) > 1}
        return kept

    def draw(self, rng: np.random.Generator) -> int:
        """Return a clip: each class is as likely, then each of its clips."""
        units = _one_of(list(self._classes.values()), rng)
        return _one_of([number for numbers in units.values() for number in numbers], rng)

    def draw_two_units(self, rng: np.random.Generator) -> tuple[int, int]:
        """Return two clips of one class and two units; each class has two units or more."""
        units = list(_one_of(list(self._classes.values()), rng).values())
        first, second = rng.choice(len(units), 2, replace=False)
        return _one_of(units[first], rng), _one_of(units[second], rng)

    def draw_two_classes(self, rng: np.random.Generator) -> tuple[int, int]:
        """Return two clips of two classes and two units; there must be such a pair."""
        labels = list(self._classes)
        while True:
            one, two = (self._classes[labels[place]] for place in rng.choice(len(labels), 2, replace=False))
            first, second = _one_of(list(one), rng), _one_of(list(two), rng)
            if first != second:
                return _one_of(one[first], rng), _one_of(two[second], rng)


@dataclass(frozen=True)
class Lots:
    """The clips for each type.

    Args:
        by_file: for two classes: two clips of two files.
        by_group: for two videos of a class: two clips of two groups, and so of two files.
        by_ratio: for one video, by the ratio of its speeds.
        usable: number of clips that are as long as the window.
        unused: for people: sentences on clips and classes that some type leaves out.
    """

    by_file: Lot
    by_group: Lot
    by_ratio: Mapping[float, Lot]
    usable: int
    unused: tuple[str, ...]


def lots_of(sources: Sequence[Source], one_speed: int, longest: Mapping[float, int], *, side: str) -> Lots:
    """Return the clips that do for each type; no clip is shown beyond its end.

    Args:
        one_speed: grid frames of a window.
        longest: grid frames of the longest clip of each ratio of speeds.
        side: what the sources are for, in messages.

    Raises:
        PipelineError: no clip or pair of clips does for one of the types.
    """
    long_enough = [number for number, source in enumerate(sources) if source.frames >= one_speed]
    if not long_enough:
        raise PipelineError(
            f"no {side} clip is as long as the window of the network, {one_speed} frames of its grid (the longest has "
            f"{max((source.frames for source in sources), default=0)}): give longer clips, or another --encoder"
        )
    by_file = Lot((sources[i].label, sources[i].file, i) for i in long_enough)
    group_of = {sources[number].file: sources[number].group for number in long_enough}  # one for each file
    if len(by_file.units()) < 2 or len(group_of) < 2:
        raise PipelineError(f"the {side} clips that are long enough must be of two classes and two files or more")
    of_group = Lot((sources[i].label, group_of[sources[i].file], i) for i in long_enough)
    by_group = of_group.without_lone()
    if not by_group:
        raise PipelineError(
            f"no class has two {side} videos (of two groups), so none can be joined with another of its class: give "
            "more videos, or another --validation-share or --group-pattern"
        )
    by_ratio = {}
    short = len(sources) - len(long_enough)
    unused = [(short, counted(short, f"{side} clip", "is", "are") + f" shorter than the window ({one_speed} frames)")]
    for ratio, length in longest.items():
        there = [number for number in long_enough if sources[number].frames >= length]
        short = len(sources) - len(there)
        who = counted(short, f"{side} clip", "is", "are")
        unused.append((short, f"{who} too short for speed ratio {ratio:g} ({length} frames)"))
        if there:
            by_ratio[ratio] = Lot((sources[i].label, sources[i].file, i) for i in there)
    if not by_ratio:
        raise PipelineError(
            f"no {side} clip is long enough for a change of speed, which takes {min(longest.values())} frames of the "
            "network's grid: give longer clips, or --bsp.speed-ratios nearer to 1"
        )
    lone = sum(number == 1 for number in of_group.units().values())
    unused.append((lone, counted(lone, f"{side} class", "has", "have") + " one video, so no pair of one class"))
    return Lots(by_file, by_group, by_ratio, len(long_enough), tuple(sentence for number, sentence in unused if number))


def _one_of(items: Sequence[_Item], rng: np.random.Generator) -> _Item:
    return items[int(rng.integers(len(items)))]

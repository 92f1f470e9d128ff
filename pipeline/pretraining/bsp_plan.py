"""What a clip with a boundary is made of: a pure plan, drawn from (seed, epoch, index), without any pixels.

Source: Xu et al., Boundary-sensitive pre-training for temporal localization in videos, ICCV 2021; its workshop version
names the four types and their joins. Places, lengths and ratios are ours (`BspConfig`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal, NamedTuple

import numpy as np

from pipeline.errors import PipelineError
from pipeline.pretraining.bsp_config import BspConfig
from pipeline.pretraining.bsp_lots import Source, lots_of

Type = Literal["different_class", "same_class", "different_speed", "same_speed"]
TYPES: tuple[Type, ...] = ("different_class", "same_class", "different_speed", "same_speed")


class Layer(NamedTuple):
    """A frame of a source, and its share of an output frame, above 0 to 1."""

    source: int
    frame: int
    weight: float


@dataclass(frozen=True)
class ClipPlan:
    """A clip to make.

    Args:
        type: how its two parts differ; "same_speed" has one part.
        boundary: the first frame of the second part; None for "same_speed".
        frames: for each output frame its layers; their weights sum to 1.
    """

    type: Type
    boundary: int | None
    frames: tuple[tuple[Layer, ...], ...]


@dataclass(frozen=True)
class Window:
    """The frames that a network takes: `frames` of them, three or more, `step` grid frames apart."""

    frames: int
    step: int

    def boundaries(self, share: float) -> range:
        """Return the places of the boundary in the middle `share` of the window; each part has a step of its own."""
        first = max(1, math.ceil(self.frames * (1 - share) / 2))
        last = min(self.frames - 2, math.floor(self.frames * (1 + share) / 2))
        middle = self.frames // 2
        return range(first, last + 1) or range(middle, middle + 1)

    def steps(self, ratio: float) -> tuple[int, int]:
        """Return the frame steps before and after a change of speed; the slower part has the network's step.

        Raises:
            PipelineError: a step is not whole, so frames would be shown twice or unevenly.
        """
        faster = self.step * max(exact := Fraction(str(ratio)), 1 / exact)
        if faster.denominator != 1:
            raise PipelineError(
                f"speed_ratios must give whole frame steps; {ratio:g} does not with the network's step of {self.step}"
            )
        return (self.step, int(faster)) if ratio > 1 else (int(faster), self.step)

    def places(self, steps: tuple[int, int], boundary: int) -> list[int]:
        """Return the grid frame of each output frame, from 0: the first step up to the boundary, then the second."""
        return [min(k, boundary) * steps[0] + max(0, k - boundary) * steps[1] for k in range(self.frames)]


class ClipPlanner:
    """Plans clips with a boundary of the same sources.

    Args:
        sources: the clips; a plan names them by their place here.
        window: of the network.
        side: what the sources are for, in messages: "training" or "held-out".

    Attributes:
        usable: number of sources that are as long as the window.
        unused: for people: sentences on clips and classes that some type leaves out.

    Raises:
        PipelineError: the sources do not do for one of the types.
    """

    def __init__(self, sources: Sequence[Source], window: Window, config: BspConfig, *, seed: int, side: str) -> None:
        self._sources, self._window, self._config, self._seed = sources, window, config, seed
        self._boundaries = window.boundaries(config.boundary_share)
        steps = {ratio: window.steps(ratio) for ratio in config.speed_ratios}
        longest = {
            ratio: max(window.places(pair, boundary)[-1] + 1 for boundary in self._boundaries)
            for ratio, pair in steps.items()
        }
        one_speed = (window.frames - 1) * window.step + 1
        self._lots = lots_of(sources, one_speed, longest, side=side)
        self.usable, self.unused = self._lots.usable, self._lots.unused
        self._steps = {ratio: steps[ratio] for ratio in self._lots.by_ratio}

    def plan(self, epoch: int, index: int) -> ClipPlan:
        """Return clip number `index` of an epoch. Of clips 4 n to 4 n + 3 each has another type."""
        order = np.random.default_rng([self._seed, 21, epoch, index // len(TYPES)]).permutation(len(TYPES))
        type_ = TYPES[order[index % len(TYPES)]]
        rng = np.random.default_rng([self._seed, 22, epoch, index])
        boundary = int(rng.choice(self._boundaries))
        if type_ in ("different_class", "same_class"):
            return self._pair(type_, boundary, rng)
        return self._speed(type_, boundary, rng)

    def _pair(self, type_: Type, boundary: int, rng: np.random.Generator) -> ClipPlan:
        """Return a clip of two videos."""
        lots = self._lots
        pair = lots.by_file.draw_two_classes(rng) if type_ == "different_class" else lots.by_group.draw_two_units(rng)
        blended = self._config.join == "blend" or (self._config.join == "published" and type_ == "different_class")
        half = self._config.blend_share * self._window.frames / 2 if blended else 0.0
        second = [weight_of_second(k - boundary, half) for k in range(self._window.frames)]
        weights = ([1 - weight for weight in second], second)
        layers: list[list[Layer]] = [[] for _ in second]
        for source, of_source in zip(pair, weights, strict=True):
            shown = [k for k, weight in enumerate(of_source) if weight > 0]
            length = (len(shown) - 1) * self._window.step + 1
            start = _start(self._sources[source], length, rng)
            for k in shown:
                layers[k].append(Layer(source, start + (k - shown[0]) * self._window.step, of_source[k]))
        return ClipPlan(type_, boundary, tuple(map(tuple, layers)))

    def _speed(self, type_: Type, boundary: int, rng: np.random.Generator) -> ClipPlan:
        """Return a clip of one video. Both types draw it from the same clips, so that the video tells nothing."""
        ratio = list(self._steps)[rng.integers(len(self._steps))]
        source = self._lots.by_ratio[ratio].draw(rng)
        steps = self._steps[ratio] if type_ == "different_speed" else (self._window.step, self._window.step)
        places = self._window.places(steps, boundary)
        start = _start(self._sources[source], places[-1] + 1, rng)
        frames = tuple((Layer(source, start + place, 1.0),) for place in places)
        return ClipPlan(type_, boundary if type_ == "different_speed" else None, frames)


def weight_of_second(distance: int, half: float) -> float:
    """Return the second video's share of a frame `distance` frames after the boundary.

    Args:
        half: half the length of the blend in frames: a line from 0 to 1, 1/2 at the boundary; 0 for a cut.
    """
    if half == 0:
        return float(distance >= 0)
    return min(1.0, max(0.0, 0.5 + distance / (2 * half)))


def _start(source: Source, length: int, rng: np.random.Generator) -> int:
    return int(rng.integers(source.frames - length + 1))

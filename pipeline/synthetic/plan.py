"""The plan of synthetic videos, before a pixel is drawn: lengths, subsets, actions and their times."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from pipeline.errors import PipelineError
from pipeline.snippets import exact
from pipeline.synthetic.drawing import ACTIONS

PROCEDURE = 1  # raise it when the same settings would give other videos
_ACTION_SECONDS = (2, 8)
_GAP_SECONDS = (1, 4)  # background before, between and after actions
_TRAINING_PART = 0.6


@dataclass(frozen=True, kw_only=True)
class SyntheticAction:
    """An action in frames `[first_frame, end_frame)` of its video."""

    label: str
    first_frame: int
    end_frame: int


@dataclass(frozen=True, kw_only=True)
class SyntheticVideo:
    """The plan of a video: its length, subset and actions."""

    id: str
    index: int
    subset: str
    frames: int
    actions: tuple[SyntheticAction, ...]


@dataclass(frozen=True, kw_only=True)
class SyntheticSettings:
    """The settings that determine a synthetic data set.

    Args:
        videos: number of videos, >= 2; the first 60 % (rounded) are for training, the rest for validation.
        seed: of everything random, >= 0.
        seconds: mean duration of a video, >= 6; the durations vary by a fifth around it.
        height, width: of the pictures in pixels, even, >= 64.
        fps: frames a second, a fraction as text ("30", "30000/1001").
        visibility: weight of an action's colors in its pixels, > 0 and <= 1; the background has the rest.
    """

    videos: int = 16
    seed: int = 0
    seconds: float = 25.0
    height: int = 256
    width: int = 320
    fps: str = "30"
    visibility: float = 1.0
    procedure: int = PROCEDURE

    def __post_init__(self) -> None:
        for name, least in (("videos", 2), ("seed", 0), ("seconds", 6), ("height", 64), ("width", 64)):
            if not getattr(self, name) >= least:
                raise PipelineError(f"{name} of synthetic videos must be >= {least}, got {getattr(self, name)}")
        for name in ("height", "width"):
            if getattr(self, name) % 2:
                raise PipelineError(f"{name} of synthetic videos must be even, got {getattr(self, name)}")
        if not 0 < self.visibility <= 1:
            raise PipelineError(f"visibility of synthetic actions must be > 0 and <= 1, got {self.visibility}")
        if not 5 <= exact(self.fps) <= 240:
            raise PipelineError(f"fps of synthetic videos must be 5 to 240, got {self.fps}")


def plan_videos(settings: SyntheticSettings) -> list[SyntheticVideo]:
    """Return the videos of a data set: their lengths, subsets and actions."""
    training = min(settings.videos - 1, max(1, round(_TRAINING_PART * settings.videos)))
    # Both subsets draw from the same sequence of labels, so validation has no class that training lacks.
    labels = {"training": _labels(settings.seed), "validation": _labels(settings.seed)}
    plans = []
    for index in range(settings.videos):
        subset = "training" if index < training else "validation"
        rng = np.random.default_rng([settings.seed, index])
        frames = round(settings.seconds * rng.uniform(0.8, 1.2) * exact(settings.fps))
        actions = tuple(
            SyntheticAction(label=next(labels[subset]), first_frame=first, end_frame=end)
            for first, end in _place_actions(rng, frames, fps=float(exact(settings.fps)))
        )
        plans.append(
            SyntheticVideo(id=f"synthetic_{index:04d}", index=index, subset=subset, frames=frames, actions=actions)
        )
    return plans


def _labels(seed: int) -> Iterator[str]:
    """Yield labels without end; each run of four holds every class once, in random order."""
    rng = np.random.default_rng([seed, 2**31])
    while True:
        yield from (str(label) for label in rng.permutation(list(ACTIONS)))


def _place_actions(rng: np.random.Generator, frames: int, *, fps: float) -> Iterator[tuple[int, int]]:
    """Yield `[first, end)` in frames of one action after another, at least one, with background around each."""
    shortest, longest = (round(seconds * fps) for seconds in _ACTION_SECONDS)
    least_gap, most_gap = (round(seconds * fps) for seconds in _GAP_SECONDS)
    cursor = 0
    while (room := frames - cursor - 2 * least_gap - shortest) >= 0:
        first = cursor + least_gap + int(rng.integers(0, min(room, most_gap - least_gap) + 1))
        end = first + int(rng.integers(shortest, min(longest, frames - least_gap - first) + 1))
        yield first, end
        cursor = end


def annotations_of(plans: list[SyntheticVideo], *, fps: Fraction) -> dict[str, Any]:
    """Return the ground truth in the ActivityNet dialect; frames [a, b) become the segment [a / fps, b / fps]."""
    database = {
        plan.id: {
            "subset": plan.subset,
            "duration": float(plan.frames / fps),
            "fps": float(fps),
            "frame": plan.frames,
            "annotations": [
                {
                    "segment": [float(action.first_frame / fps), float(action.end_frame / fps)],
                    "label": action.label,
                }
                for action in plan.actions
            ],
        }
        for plan in plans
    }
    return {"version": f"synthetic-{PROCEDURE}", "database": database}

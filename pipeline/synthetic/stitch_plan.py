"""The plan of a stitched video, before a frame is decoded: its clips, their order and their times."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np

from pipeline.annotations import Annotations, VideoAnnotations
from pipeline.annotations.segments import Segment
from pipeline.errors import PipelineError
from pipeline.pretraining.clips import Clip
from pipeline.pretraining.config import StitchConfig
from pipeline.snippets import exact

_Item = TypeVar("_Item")
Footage = Literal["as it is", "still", "shuffled", "reversed"]


@dataclass(frozen=True)
class Piece:
    """Frames `[first, first + frames)` of a clip; `label` is None for background, which may be altered."""

    path: Path
    first: int
    frames: int
    label: str | None
    footage: Footage = "as it is"


@dataclass(frozen=True)
class StitchedVideo:
    """A video of consecutive pieces; each begins `fade_frames` before the previous one ends."""

    id: str
    index: int
    subset: str
    pieces: tuple[Piece, ...]
    fade_frames: int

    @property
    def starts(self) -> list[int]:
        """Return the frame at which each piece begins, and at which a next one would begin."""
        steps = (piece.frames - self.fade_frames for piece in self.pieces)
        return list(itertools.accumulate(steps, initial=0))

    @property
    def frames(self) -> int:
        """Return the number of frames of the video."""
        return self.starts[-1] + self.fade_frames

    def segments(self) -> Iterator[tuple[int, int, str]]:
        """Yield the actions as [first, end) in frames of the video; a fade belongs to the more visible piece."""
        middle = self.fade_frames // 2
        for piece, start, end in zip(self.pieces, self.starts, self.starts[1:], strict=False):
            if piece.label is not None:
                yield start + middle, end + middle, piece.label


def plan_videos(
    split: Mapping[str, Sequence[Clip]], lengths: Mapping[Path, int], config: StitchConfig
) -> list[StitchedVideo]:
    """Return the videos of a data set.

    Args:
        split: the clips of each subset.
        lengths: frames of each clip at `config.fps`.

    Raises:
        PipelineError: there is no source of background, or clips are too short for the fades.
    """
    labels = {clip.label for clips in split.values() for clip in clips}
    actions = action_labels(sorted(labels), config)
    shares = {"validation": max(1, round(config.videos * config.validation_share))}
    shares["training"] = config.videos - shares["validation"]
    plans: list[StitchedVideo] = []
    for subset in ("training", "validation"):
        source = _Source(split[subset], lengths, actions, config, subset)
        for _ in range(shares[subset]):
            index = len(plans)
            pieces = tuple(source.pieces(np.random.default_rng([config.seed, index])))
            plans.append(StitchedVideo(f"stitched_{index:04d}", index, subset, pieces, config.fade_frames))
    return plans


def action_labels(labels: Sequence[str], config: StitchConfig) -> list[str]:
    """Return the classes that are actions: the configured ones, or all that are not background.

    Raises:
        PipelineError: a class is unknown or both action and background, or there is no background between actions.
    """
    for name in (*config.actions, *config.background_classes):
        if name not in labels:
            raise PipelineError(f"classes must be among {', '.join(labels)}, got {name!r}")
    if both := set(config.actions) & set(config.background_classes):
        raise PipelineError(f"classes must be actions or background, got both of {sorted(both)}")
    if config.background == "clips" and not config.background_classes and not config.actions:
        raise PipelineError(
            "background='clips' needs classes that are no actions: name them with --background-classes (or name the "
            f"actions with --actions) out of {', '.join(labels)}; or take --background still, shuffled or reversed"
        )
    actions = list(config.actions) or [name for name in labels if name not in config.background_classes]
    if config.background == "clips" and set(actions) == set(labels):
        raise PipelineError("all classes are actions: there are no clips for the background; choose fewer --actions")
    return actions


class _Source:
    """The clips of one subset, dealt out in random order: all once before any repeats."""

    def __init__(
        self,
        clips: Sequence[Clip],
        lengths: Mapping[Path, int],
        actions: Sequence[str],
        config: StitchConfig,
        subset: str,
    ) -> None:
        self._lengths = lengths
        self._config = config
        rng = np.random.default_rng([config.seed, 11, subset == "training"])
        self._labels = _dealt(list(actions), rng)
        self._actions = {label: _dealt([c for c in clips if c.label == label], rng) for label in actions}
        wanted = set(config.background_classes) or {c.label for c in clips} - set(actions)
        behind = [c for c in clips if (c.label in wanted if config.background == "clips" else c.label in actions)]
        if not behind:
            raise PipelineError(f"subset {subset} has no clips for the background")
        self._background = _dealt(behind, rng)
        shortest = min((c for c in clips if c.label in actions or c in behind), key=lambda clip: lengths[clip.path])
        if lengths[shortest.path] <= 2 * config.fade_frames:
            raise PipelineError(
                f"fade_frames must be less than half of every clip; {shortest.path.name} has "
                f"{lengths[shortest.path]} frames at {config.fps:g} fps, got {config.fade_frames}"
            )

    def pieces(self, rng: np.random.Generator) -> Iterator[Piece]:
        """Yield background, action, background, …, background, until the target length is reached."""
        config, rate = self._config, exact(self._config.fps)
        wanted = round(config.seconds * rng.uniform(0.8, 1.2) * rate)
        frames = 0
        for piece in self._gap(rng):
            frames += piece.frames - config.fade_frames
            yield piece
        while frames < wanted:
            for piece in (self._action(), *self._gap(rng)):
                frames += piece.frames - config.fade_frames
                yield piece

    def _action(self) -> Piece:
        label = next(self._labels)
        clip = next(self._actions[label])
        most = round(self._config.max_action_seconds * exact(self._config.fps))
        return Piece(clip.path, 0, min(most, self._lengths[clip.path]), label)

    def _gap(self, rng: np.random.Generator) -> Iterator[Piece]:
        config, rate = self._config, exact(self._config.fps)
        low, high = config.gap_seconds
        least = 2 * config.fade_frames + 1
        left = max(least, round(rng.uniform(low, high) * rate))
        footage: Footage = "as it is" if config.background == "clips" else config.background
        while left > 0:
            clip = next(self._background)
            length = self._lengths[clip.path]
            if footage == "still":
                yield Piece(clip.path, int(rng.integers(length)), left, None, footage)
                return
            frames = min(max(left, least), length)  # better longer than requested than too short for its fades
            first = int(rng.integers(length - frames + 1))
            yield Piece(clip.path, first, frames, None, footage)
            left -= frames


def _dealt(items: list[_Item], rng: np.random.Generator) -> Iterator[_Item]:
    """Yield the items without end, in a new random order for each pass."""
    while True:
        yield from (items[place] for place in rng.permutation(len(items)))


def annotations_of(plans: Sequence[StitchedVideo], *, fps: Fraction) -> Annotations:
    """Return the ground truth; frames [a, b) of a video are the seconds [a / fps, b / fps)."""
    videos = {
        plan.id: VideoAnnotations(
            id=plan.id,
            subset=plan.subset,
            duration=float(plan.frames / fps),
            fps=float(fps),
            segments=tuple(
                Segment((float(first / fps), float(end / fps)), label) for first, end, label in plan.segments()
            ),
            frames=plan.frames,
        )
        for plan in plans
    }
    labels = {segment.label for video in videos.values() for segment in video.segments}
    return Annotations("stitched-1", videos, tuple(sorted(labels)))

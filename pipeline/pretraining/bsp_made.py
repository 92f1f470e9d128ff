"""The clips with a boundary that can be made of one side's videos, as pixels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from encoders.spec import EncoderSpec
from pipeline.errors import PipelineError
from pipeline.pretraining.bsp_lots import Source
from pipeline.pretraining.bsp_plan import TYPES, ClipPlanner, Window
from pipeline.pretraining.bsp_render import render_clip
from pipeline.pretraining.clips import Clip
from pipeline.pretraining.config import PretrainConfig
from pipeline.pretraining.data import random_view


def window_of(spec: EncoderSpec) -> Window:
    """Return the frames that a network takes, at equal distances of whole grid frames.

    Raises:
        PipelineError: there are fewer than three.
    """
    if spec.num_frames < 3:
        raise PipelineError(f"task bsp needs a network of three frames or more, {spec.name} takes {spec.num_frames}")
    return Window(spec.num_frames, spec.window_frames // spec.num_frames)


class MadeClips:
    """The clips that can be made of one side's videos.

    Args:
        clips: with the file of its small frames, uint8 [frames, h, w, 3], and their number.
        side: "training" or "held-out".
    """

    def __init__(
        self, clips: Sequence[tuple[Clip, Path, int]], spec: EncoderSpec, config: PretrainConfig, side: str
    ) -> None:
        sources = [Source(clip.label, clip.group, str(clip.path), frames) for clip, _, frames in clips]
        self.planner = ClipPlanner(sources, window_of(spec), config.bsp, seed=config.seed, side=side)
        self._files = [file for _, file, _ in clips]
        self._spec, self._seed = spec, config.seed

    def type_of(self, epoch: int, index: int) -> int:
        """Return the type of a clip, as its place in `TYPES`."""
        return TYPES.index(self.planner.plan(epoch, index).type)

    def augmented(self, epoch: int, index: int) -> Tensor:
        """Return a clip, uint8 [F, S, S, 3]. Each of its videos has one random crop, flip and color for all frames."""

        def view(number: int, frames: Tensor) -> Tensor:
            rng = np.random.default_rng([self._seed, 23, epoch, index, number])
            return random_view(frames, rng, self._spec.crop_size)

        return render_clip(self.planner.plan(epoch, index), self._load, view)

    def plain(self, epoch: int, index: int) -> Tensor:
        """Return a clip, uint8 [F, S, S, 3], center-cropped as in extraction."""

        def view(number: int, frames: Tensor) -> Tensor:
            top, left, size = self._spec.crop_box(*frames.shape[1:3])
            return frames[:, top : top + size, left : left + size]

        return render_clip(self.planner.plan(epoch, index), self._load, view)

    def _load(self, source: int) -> NDArray[np.uint8]:
        frames: NDArray[np.uint8] = np.load(self._files[source], mmap_mode="r", allow_pickle=False)
        return frames

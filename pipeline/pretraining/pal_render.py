"""Synthetic videos as pixels: what a plan says, from the small frames of the videos."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from encoders.spec import EncoderSpec
from pipeline.pretraining.data import View
from pipeline.pretraining.pal_plan import ClipGrid, Pair, Paste, Span

FramesOf = Callable[[int, int], NDArray[np.uint8]]
"""Returns the frames of a stretch of a video, uint8 [frames, h, w, 3]; memory-mapped will do."""


def render_pair(
    pair: Pair, frames_of: FramesOf, spec: EncoderSpec, grid: ClipGrid, *, blend: int, rng: np.random.Generator | None
) -> Tensor:
    """Return the windows of both synthetic videos, uint8 [2, T', F, S, S, 3].

    Args:
        blend: frames at both ends of a paste that fade into the background.
        rng: draws one view for each background and each region; None: center crops, as in extraction.
    """
    return torch.stack([_render(paste, frames_of, spec, grid, blend=blend, rng=rng) for paste in pair.pastes])


def _render(
    paste: Paste,
    frames_of: FramesOf,
    spec: EncoderSpec,
    grid: ClipGrid,
    *,
    blend: int,
    rng: np.random.Generator | None,
) -> Tensor:
    used, places = np.unique(grid.frames, return_inverse=True)  # windows that overlap share frames
    weights = paste.weights(grid.length, blend=blend)[used]
    behind, inside = weights < 1, weights > 0
    size = spec.crop_size
    pictures = torch.zeros(len(used), size, size, 3)
    shown = _shown(paste.background, used[behind], frames_of, spec, rng)
    pictures[torch.from_numpy(behind)] = shown.float()
    there = paste.source_frames()[used[inside] - paste.place[0]]
    share = torch.from_numpy(weights[inside]).float().view(-1, 1, 1, 1)
    region = torch.from_numpy(inside)
    pictures[region] = pictures[region] * (1 - share) + _shown(paste.source, there, frames_of, spec, rng) * share
    return pictures.round().to(torch.uint8)[torch.from_numpy(places).view(grid.frames.shape)]


def _shown(
    span: Span, frames: NDArray[np.int64], frames_of: FramesOf, spec: EncoderSpec, rng: np.random.Generator | None
) -> Tensor:
    """Return frames of a span in one view for all, uint8 [F, S, S, 3]."""
    stretch = frames_of(span.video, span.stretch)
    height, width = stretch.shape[1:3]
    view = None if rng is None else View.draw(rng, height, width)
    if len(frames) == 0:
        return torch.zeros(0, spec.crop_size, spec.crop_size, 3, dtype=torch.uint8)
    pictures = torch.from_numpy(np.ascontiguousarray(stretch[span.first + frames]))
    if view is not None:
        return view.of(pictures, spec.crop_size)
    top, left, size = spec.crop_box(height, width)
    return pictures[:, top : top + size, left : left + size]

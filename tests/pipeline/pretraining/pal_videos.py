"""Made-up videos for the tests of PAL, as cached frames, and a tiny encoder for them."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
from torch import nn

from encoders.spec import EncoderSpec
from pipeline.pretraining.data import CachedClip

SIDE = 16
SQUARE = 8


class Tiny(nn.Module):
    """Two convolutions and the mean over space: features [B, 32] of frames [B, 3, 16, 16]."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, stride=2), nn.BatchNorm2d(16), nn.ReLU())
        with torch.no_grad():  # at the start it sees brightness, and hardly color
            weight = self.stem[0].weight
            weight.lerp_(weight.mean(dim=1, keepdim=True).expand_as(weight), 0.85)
        self.layer = nn.Sequential(nn.Conv2d(16, 32, 3, stride=2), nn.BatchNorm2d(32), nn.ReLU())

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        return self.layer(self.stem(frames)).mean(dim=(2, 3))


def tiny() -> tuple[EncoderSpec, nn.Module]:
    """Return the spec and the network, as the option network asks for: two frames of a window of four."""
    spec = EncoderSpec(
        name="tiny",
        version=1,
        feature_dim=32,
        num_frames=2,
        window_frames=4,
        fps=8.0,
        short_side=SIDE,
        crop_size=SIDE,
        mean=(0.5,) * 3,
        std=(0.25,) * 3,
        layout="frames",
        source="a test",
    )
    torch.manual_seed(0)
    return spec, Tiny()


def coded(folder: Path, lengths: list[list[int]]) -> list[list[CachedClip]]:
    """Return videos whose pixels tell video, stretch and frame: (10 * video + stretch, frame, 7)."""
    videos = []
    for video, stretches in enumerate(lengths):
        of_video = []
        for stretch, frames in enumerate(stretches):
            pictures = np.zeros((frames, SIDE, SIDE + 4, 3), np.uint8)
            pictures[..., 0], pictures[..., 2] = 10 * video + stretch, 7
            pictures[..., 1] = np.arange(frames)[:, None, None]
            of_video.append(_saved(folder / f"{video}-{stretch}.npy", pictures, video))
        videos.append(of_video)
    return videos


def moving_squares(folder: Path, number: int, *, frames: int, seed: int) -> list[list[CachedClip]]:
    """Return videos that differ only in the two colors of a small square, which moves.

    The brightness of all else is drawn anew for each frame, and moves the mean color far more.
    """
    rng = np.random.default_rng(seed)
    folder.mkdir(exist_ok=True)
    sides = math.ceil(number**0.5)
    chosen, shift = rng.permutation(sides**2), rng.uniform()
    videos = []
    for video in range(number):
        pictures = np.tile(rng.uniform(30, 225, (frames, 1, 1, 1)), (1, SIDE, SIDE, 3))
        upper, lower = (128 + 100 * _hue((place + shift) / sides) for place in divmod(chosen[video], sides))
        for frame, (top, left) in enumerate(_bounces(rng, frames, SIDE - SQUARE)):
            middle = top + SQUARE // 3
            pictures[frame, top:middle, left : left + SQUARE] = upper
            pictures[frame, middle : top + SQUARE, left : left + SQUARE] = lower
        videos.append([_saved(folder / f"{video}.npy", pictures.round().astype(np.uint8), video)])
    return videos


def _hue(turn: float) -> np.ndarray:
    """Return red, green and blue of a hue, -1 to 1; they sum to 0, so that all hues are equally bright."""
    return np.cos(2 * np.pi * (turn + np.arange(3) / 3))


def _bounces(rng: np.random.Generator, frames: int, span: int) -> np.ndarray:
    """Return the places of something that moves straight and bounces off the walls, int [frames, 2], 0 to span."""
    walked = rng.uniform(0, span, 2) + np.arange(frames)[:, None] * rng.uniform(-2, 2, 2)
    return np.abs((walked + span) % (2 * span) - span).round().astype(int)


def _saved(file: Path, pictures: np.ndarray, place: int) -> CachedClip:
    np.save(file, pictures)
    return CachedClip(file, place, len(pictures))

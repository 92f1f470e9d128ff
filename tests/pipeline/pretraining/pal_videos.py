"""Made-up videos for the tests of PAL, as cached frames, and a tiny encoder for them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import nn

from encoders.spec import EncoderSpec
from pipeline.pretraining.data import CachedClip

SIDE = 16
SQUARE = 6


class Tiny(nn.Module):
    """Two convolutions and the mean over space: features [B, 32] of frames [B, 3, 16, 16]."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, stride=2), nn.BatchNorm2d(16), nn.ReLU())
        with torch.no_grad():  # at the start it sees brightness, no color
            weight = self.stem[0].weight
            weight.copy_(weight.mean(dim=1, keepdim=True).expand_as(weight))
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
    """Return videos that differ only in the color of a small square, which moves.

    The brightness of all else is drawn anew for each frame, and moves the mean color far more.
    """
    rng = np.random.default_rng(seed)
    folder.mkdir(exist_ok=True)
    videos = []
    for video, angle in enumerate(rng.permutation(number) / number * 2 * np.pi + rng.uniform(0, 0.01)):
        # a hue of equal brightness: the weights sum to 0
        hue = np.array([np.cos(angle), np.cos(angle + 2 * np.pi / 3), np.cos(angle + 4 * np.pi / 3)])
        color = 128 + 100 * hue
        pictures = np.tile(rng.uniform(30, 225, (frames, 1, 1, 1)), (1, SIDE, SIDE, 3))
        for frame, (top, left) in enumerate(_bounces(rng, frames, SIDE - SQUARE)):
            pictures[frame, top : top + SQUARE, left : left + SQUARE] = color
        videos.append([_saved(folder / f"{video}.npy", pictures.round().astype(np.uint8), video)])
    return videos


def _bounces(rng: np.random.Generator, frames: int, span: int) -> np.ndarray:
    """Return the places of something that moves straight and bounces off the walls, int [frames, 2], 0 to span."""
    walked = rng.uniform(0, span, 2) + np.arange(frames)[:, None] * rng.uniform(-2, 2, 2)
    return np.abs((walked + span) % (2 * span) - span).round().astype(int)


def _saved(file: Path, pictures: np.ndarray, place: int) -> CachedClip:
    np.save(file, pictures)
    return CachedClip(file, place, len(pictures))

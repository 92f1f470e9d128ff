"""The pixels of synthetic videos: a swaying background and one drawing function for each action."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

Draw = Callable[[np.ndarray, float], None]
"""Draw an action into a picture, uint8 [H, W, 3] RGB, in its state a number of seconds after its start."""


def background(rng: np.random.Generator, height: int, width: int) -> Callable[[float], np.ndarray]:
    """Return a function of the time in seconds that gives the picture, uint8 [H, W, 3] RGB.

    A camera sways over a dull, larger texture.
    """
    margin = min(height, width) // 4
    tall, wide = height + margin, width + margin
    brightness = np.full((tall, wide), rng.uniform(90, 130))
    for amplitude, cell in ((30, margin), (25, 12), (15, 5)):
        brightness += amplitude * _smooth_noise(rng, tall, wide, cell=cell)
    tint = rng.uniform(-12, 12, size=3)
    canvas = np.clip(brightness[..., None] + tint, 0, 255).astype(np.uint8)
    speeds, phases = rng.uniform(0.3, 0.8, size=2), rng.uniform(0, 2 * math.pi, size=2)

    def picture_at(seconds: float) -> np.ndarray:
        top, left = (int(margin * (1 + math.sin(v * seconds + p)) / 2) for v, p in zip(speeds, phases, strict=True))
        return canvas[top : top + height, left : left + width].copy()

    return picture_at


def _smooth_noise(rng: np.random.Generator, height: int, width: int, *, cell: int) -> np.ndarray:
    """Return random values in [-1, 1] every `cell` pixels, linear in between; float64 [H, W]."""
    rows, columns = height // cell + 2, width // cell + 2
    values = rng.uniform(-1, 1, size=(rows, columns))
    y, x = np.arange(height) / cell, np.arange(width) / cell
    top, left = y.astype(int), x.astype(int)
    down, right = (y - top)[:, None], x - left
    values = values[top] * (1 - down) + values[top + 1] * down
    return values[:, left] * (1 - right) + values[:, left + 1] * right


def _grid(rng: np.random.Generator, height: int, width: int) -> tuple[np.ndarray, np.ndarray, int]:
    """Return coordinates around a random place near the middle, float32 [H, 1] and [1, W], and the short side."""
    size = min(height, width)
    y0, x0 = (side / 2 + rng.uniform(-0.08, 0.08) * size for side in (height, width))
    return (
        np.arange(height, dtype=np.float32)[:, None] - np.float32(y0),
        np.arange(width, dtype=np.float32)[None] - np.float32(x0),
        size,
    )


def _rotating_bar(rng: np.random.Generator, height: int, width: int) -> Draw:
    y, x, size = _grid(rng, height, width)
    length, thickness = size * rng.uniform(0.36, 0.44), size * rng.uniform(0.08, 0.11)
    turn, speed = rng.uniform(0, math.pi), rng.choice([-1, 1]) * rng.uniform(2, 4)

    def draw(frame: np.ndarray, seconds: float) -> None:
        cos, sin = math.cos(turn + speed * seconds), math.sin(turn + speed * seconds)
        frame[(abs(x * cos + y * sin) < length) & (abs(y * cos - x * sin) < thickness)] = (255, 60, 20)

    return draw


def _expanding_ring(rng: np.random.Generator, height: int, width: int) -> Draw:
    y, x, size = _grid(rng, height, width)
    distance = np.hypot(y, x) / size
    period, thickness = rng.uniform(0.8, 1.4), rng.uniform(0.05, 0.07)

    def draw(frame: np.ndarray, seconds: float) -> None:
        radius = 0.15 + 0.25 * (seconds / period % 1)
        frame[abs(distance - radius) < thickness] = (30, 230, 255)

    return draw


def _bouncing_square(rng: np.random.Generator, height: int, width: int) -> Draw:
    size = min(height, width)
    side = round(size * rng.uniform(0.30, 0.38))
    period, sway = rng.uniform(0.7, 1.2), rng.uniform(0.5, 1.0)

    def draw(frame: np.ndarray, seconds: float) -> None:
        top = round(height * 0.85 - side - size * 0.3 * abs(math.sin(math.pi * seconds / period)))
        left = round(width / 2 - side / 2 + size * 0.15 * math.sin(sway * seconds))
        frame[top : top + side, left : left + side] = (40, 255, 40)

    return draw


def _drifting_stripes(rng: np.random.Generator, height: int, width: int) -> Draw:
    y, x, size = _grid(rng, height, width)
    angle = rng.uniform(0, math.pi)
    across = (x * math.cos(angle) + y * math.sin(angle)) / (size * rng.uniform(0.10, 0.13))
    patch = (abs(y) < 0.35 * size) & (abs(x) < 0.35 * size)
    speed = rng.choice([-1, 1]) * rng.uniform(1.0, 2.0)

    def draw(frame: np.ndarray, seconds: float) -> None:
        bright = (across + speed * seconds) % 1 < 0.5
        frame[patch & bright] = (255, 60, 255)
        frame[patch & ~bright] = (40, 0, 40)

    return draw


ACTIONS: dict[str, Callable[[np.random.Generator, int, int], Draw]] = {
    "rotating bar": _rotating_bar,
    "expanding ring": _expanding_ring,
    "bouncing square": _bouncing_square,
    "drifting stripes": _drifting_stripes,
}

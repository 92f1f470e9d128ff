"""Small untrimmed videos with annotations, for the tests of TAC and TSP."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pipeline.pretraining.config import PretrainConfig
from pipeline.pretraining.tsp_config import TspConfig
from tests import videos as make
from tests.stores import annotate

FRAMES = 120  # of each video, 12 s at 10 fps
CONFIG = PretrainConfig(
    task="tsp", size=32, epochs=2, batch_size=8, precision="fp32", device="cpu", warmup_epochs=0.0,
    tsp=TspConfig(clips_per_row=2),
)  # fmt: skip


def bars_between_gray(index: int, height: int, width: int) -> np.ndarray:
    """Draw upright bars from 2 to 5 s, lying ones from 7 to 10 s, and gray pictures elsewhere."""
    if not (20 <= index < 50 or 70 <= index < 100):
        return np.full((height, width, 3), 120, np.uint8)
    line = np.arange(width if index < 60 else height)
    wave = (((line + 2 * index) // 6) % 2 * 200 + 20).astype(np.uint8)
    plane = np.tile(wave, (height, 1)) if index < 60 else np.tile(wave[:, None], (1, width))
    return np.repeat(plane[:, :, None], 3, axis=2)


def make_videos(folder: Path, *, training: int = 5, validation: int = 1) -> tuple[Path, Path]:
    """Return a folder of videos and their annotations; the first has a short segment more."""
    truth = {}
    for number in range(training + validation):
        make.constant(folder / f"v{number}.mp4", FRAMES, 10, size=(48, 64), draw=bars_between_gray)
        segments = [(2.0, 5.0, "upright"), (7.0, 10.0, "lying")]
        if number == 0:
            segments.append((10.1, 10.3, "lying"))
        truth[f"v{number}"] = ("training" if number < training else "validation", 12.0, segments)
    return folder, annotate(folder / "annotations.json", truth)

"""Small frames of made-up videos for boundary-sensitive pretraining, without any video file."""

from pathlib import Path

import numpy as np

from encoders.spec import EncoderSpec
from pipeline.pretraining.clips import Clip

SPEC = EncoderSpec(
    name="toy",
    version=1,
    feature_dim=64,
    num_frames=8,
    window_frames=16,
    fps=10.0,
    short_side=20,
    crop_size=16,
    mean=(0.5, 0.5, 0.5),
    std=(0.25, 0.25, 0.25),
    layout="clip",
    source="moving squares",
)
COLORS = {"red": (160, 30, 30), "green": (30, 160, 30), "blue": (30, 30, 160)}


def write_clips(folder: Path, shown: dict[str, list[np.ndarray]]) -> list[tuple[Clip, Path, int]]:
    """Write the frames of the videos of each class, uint8 [frames, h, w, 3], as the cache has them."""
    folder.mkdir(parents=True, exist_ok=True)
    made = []
    for label, videos in shown.items():
        for number, frames in enumerate(videos):
            file = folder / f"{label}_{number}.npy"
            np.save(file, frames)
            made.append((Clip(file.with_suffix(".mp4"), label, file.stem), file, len(frames)))
    return made


def squares(*, videos: int, seed: int, on_a_ring: bool = False) -> dict[str, list[np.ndarray]]:
    """Return videos of three classes: a white square runs over the color of the class, in a shade of the video's own.

    Args:
        on_a_ring: the square has five places side by side, and two frames later it is in the next one. So it is eight
            frames later in the one before: a network that sees every second frame, then every eighth, sees it turn
            back. Without their order both speeds show the same places.
    """
    rng = np.random.default_rng(seed)
    shown: dict[str, list[np.ndarray]] = {label: [] for label in COLORS}
    for label, videos_of_class in shown.items():
        for _ in range(videos):
            shade = np.array(COLORS[label]) * rng.uniform(0.5, 1.4)
            frames = np.broadcast_to(shade, (64, 20, 20, 3)).astype(np.uint8)
            top, start, way = rng.integers(0, 12), rng.integers(0, 20), rng.choice([-1, 1])
            for number, picture in enumerate(frames):
                moved = 4 * (3 * number % 5) if on_a_ring else 9 * number // 20
                columns = (start + way * moved + np.arange(6)) % 20
                picture[top : top + 8, columns] = 240
            videos_of_class.append(frames)
    return shown

"""Videos for the measurements."""

import os
import shutil
from fractions import Fraction
from pathlib import Path


def write_video(path: Path, seconds: float, *, size: tuple[int, int], fps: int = 30) -> None:
    """Write a video of drifting gradients with some noise, which takes as long to decode as a filmed one."""
    import av
    import numpy as np

    height, width = size
    random = np.random.default_rng(0)
    waves = 110 + 90 * np.sin(np.linspace(0, 12, height)[:, None] + np.linspace(0, 9, 2 * width))
    wide = np.repeat(waves.astype(np.uint8)[:, :, None], 3, axis=2)
    noise = random.integers(0, 14, (height, width + fps, 1), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(fps), options={"preset": "veryfast", "crf": "26"})
        stream.height, stream.width, stream.pix_fmt = height, width, "yuv420p"
        for index in range(round(seconds * fps)):
            left = 3 * index % width
            place = 7 * index % fps
            picture = wide[:, left : left + width] + noise[:, place : place + width]
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())


def videos_for(options, folder: Path) -> list[Path]:
    """Return the videos of --videos, or one generated in `folder`."""
    if options.videos:
        return sorted(path for path in options.videos.iterdir() if path.is_file())
    write_video(folder / "made.mp4", seconds=4 if options.quick else 20, size=(240, 320))
    return [folder / "made.mp4"]


def copies(videos: list[Path], folder: Path, count: int) -> list[Path]:
    """Return `count` copies of the videos under different names, as links."""
    folder.mkdir(parents=True)
    linked = []
    for number in range(count):
        for video in videos:
            linked.append(folder / f"{video.stem}_{number:04}{video.suffix}")
            first = folder / f"{video.stem}_0000{video.suffix}"
            if number:
                os.link(first, linked[-1])
            else:
                shutil.copyfile(video, first)
    return linked

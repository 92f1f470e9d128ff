"""The small frames of chosen cells of a video's frame grid, in one file for each video."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from encoders.spec import EncoderSpec
from pipeline.pretraining.clips import MAX_CORRUPT, Whole, cut
from pipeline.pretraining.data import size_facts
from pipeline.snippets import exact, tick_of
from pipeline.storage.atomic_files import whole_file
from pipeline.video.errors import VideoError
from pipeline.video.metadata import probe
from pipeline.video.pictures import Geometry
from pipeline.video.pyav_backend import DecodeCounts, shown_frames
from pipeline.video.report import refuse_truncated


@dataclass(frozen=True)
class VideoCells:
    """Cached frames of a video.

    Args:
        file: uint8 [n, h, w, 3], with the short side scaled.
        cells: int64 [n], ascending: the cells that the file holds.
    """

    file: Path
    cells: NDArray[np.int64]

    def frames(self, wanted: Sequence[int]) -> Tensor:
        """Return the frames of the `wanted` cells, which the file must hold, uint8 [F, h, w, 3]."""
        places = np.searchsorted(self.cells, wanted)
        assert np.array_equal(self.cells[places], wanted), "a cell that was not cached"
        frames = np.load(self.file, mmap_mode="r", allow_pickle=False)
        return torch.from_numpy(np.ascontiguousarray(frames[places]))


def cache_cells(path: Path, cells: NDArray[np.int64], spec: EncoderSpec, folder: Path) -> VideoCells:
    """Write the frames of the `cells` of a video to a file in `folder`, unless it is there, in one pass.

    Only these frames are converted, and none is kept in memory. A cell behind the end shows the last frame.

    Args:
        cells: int64 [n], ascending, n > 0.

    Raises:
        VideoError: the video cannot be decoded.
    """
    stat = path.stat()
    facts = f"{path.resolve()} {stat.st_size} {stat.st_mtime_ns} {spec.fps} {size_facts(spec)}"
    name = sha256(facts.encode() + cells.astype("<i8").tobytes()).hexdigest()[:24]
    cached = VideoCells(folder / f"{name}.npy", cells)
    if not cached.file.exists():
        _write(path, cells, spec, cached.file)
    return cached


def _write(path: Path, cells: NDArray[np.int64], spec: EncoderSpec, file: Path) -> None:
    info = probe(path)
    refuse_truncated(info)
    size = Whole.for_encoder(spec, info.display_size)
    geometry = Geometry.of(info, size)
    rate, counts, place = exact(spec.fps), DecodeCounts(), 0
    ticks = [tick_of((2 * int(cell) + 1) / (2 * rate), info.time_base) for cell in cells]
    with whole_file(file) as partial:
        out = np.lib.format.open_memmap(
            partial, mode="w+", dtype=np.uint8, shape=(len(cells), size.height, size.width, 3)
        )
        for shown in shown_frames(info, geometry, counts):
            first = place
            while place < len(ticks) and (shown.end is None or ticks[place] < shown.end):
                place += 1
            if place > first:
                out[first:place] = cut(shown.picture(), size.height, size.width)
            if place == len(ticks):
                break
        if counts.flagged + counts.refused + counts.disordered > MAX_CORRUPT * counts.decoded:
            raise VideoError("corrupt", f"too many of the first {counts.decoded} frames are damaged")
        out.flush()


def bytes_of_frames(count: int, display_size: tuple[int, int], spec: EncoderSpec) -> int:
    """Return the size of the cache of `count` frames of a video with this height and width in pixels."""
    height, width = spec.resized(*display_size)
    return 3 * count * height * width

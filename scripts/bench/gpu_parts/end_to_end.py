"""A step of end-to-end training at published size: R(2+1)D-34, pictures of 112 pixels, 128 snippets of a video."""

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from encoders.start import start_encoder
from gpu_parts.rows import Rows
from gpu_parts.timing import peak_gigabytes, reset_peak, synchronize
from pipeline.annotations.segments import Segment
from pipeline.heads.config import HeadConfig, TrainConfig
from pipeline.training.batches import TrainItem
from pipeline.training.end_to_end import start_run
from pipeline.training.end_to_end_config import EndToEndConfig
from pipeline.training.end_to_end_state import Run
from pipeline.training.end_to_end_step import Job, Sample, take_step
from pipeline.training.frame_cache import CachedVideo
from pipeline.training.validation import training_device

CASES = {
    "whole gradient": {},
    "stem and two stages frozen": {"frozen_stages": 3},
    "frozen, 30% of the snippets": {"frozen_stages": 3, "gradient_share": 0.3},
}


@dataclass(frozen=True)
class Size:
    """The encoder, the side of its pictures, the snippets of the window."""

    encoder: str = "r2plus1d_34"
    side: int = 112
    snippets: int = 128


def run(options: argparse.Namespace, rows: Rows) -> None:
    size = Size("tsn_r18", 32, 8) if options.quick else Size()
    for name, settings in CASES.items():
        try:
            _measure(name, size, EndToEndConfig(encoder=size.encoder, weights="random", **settings), options, rows)
        except Exception as error:  # the others must still run
            rows.failed(name, error)


def _measure(name: str, size: Size, settings: EndToEndConfig, options: argparse.Namespace, rows: Rows) -> None:
    device = torch.device(options.device)
    with tempfile.TemporaryDirectory() as folder:
        step, _ = steps_on_noise(size, settings, device=options.device, folder=Path(folder))
        step()  # the first chooses algorithms and allocates
        reset_peak(device)
        began = time.perf_counter()
        step()
        synchronize(device)
        seconds = time.perf_counter() - began
    rows.add(
        f"{size.encoder}, {size.side} pixels, {size.snippets} snippets: {name}",
        seconds_a_step=seconds,
        clips_a_second=size.snippets / seconds,
        peak_gigabytes=peak_gigabytes(device),
        chunk=settings.chunk_snippets,
    )


def steps_on_noise(
    size: Size, settings: EndToEndConfig, *, device: str, folder: Path
) -> tuple[Callable[[], object], Run]:
    """Return a function that takes an optimizer step on a video of noise, and what it trains.

    Args:
        folder: for the small frames of the video, which are uint8.
    """
    frozen = settings.frozen_stages
    start = start_encoder(settings.encoder, pool=None, weights="random", seed=0, size=size.side, frozen_stages=frozen)
    network, spec = start.network, start.spec
    rows = np.arange(size.snippets)[:, None] * spec.num_frames + np.arange(spec.num_frames)
    shape = (rows.size, spec.short_side, round(spec.short_side * 4 / 3), 3)
    with (folder / "noise.frames").open("wb") as file:
        for _ in range(shape[0]):
            file.write(np.random.default_rng(0).integers(0, 256, shape[1:], dtype=np.uint8).data)
    np.save(folder / "noise.rows.npy", rows.astype(np.int32))
    seconds = float(size.snippets)
    times = {"stride_seconds": 1.0, "window_seconds": 1.0, "duration_seconds": seconds}
    video = CachedVideo(
        frames=shape[0], height=shape[1], width=shape[2], snippets=size.snippets, path=str(folder / "noise"), **times
    )
    segments = [Segment((0.2 * seconds, 0.4 * seconds), "a"), Segment((0.6 * seconds, 0.7 * seconds), "b")]
    item = TrainItem(video_id="noise", features=np.zeros((1, 1)), segments=segments, **times)
    config = TrainConfig(device=device, head=HeadConfig(max_seq_len=size.snippets))
    samples = [Sample(item, video)]
    job = Job(samples, [], ("a", "b"), spec, config, settings, training_device(device))
    state = start_run(network, job, measure=False)
    state.network.train()
    return lambda: take_step(state, job, samples), state

"""The loop of extraction under a profiler: snippets from memory, batched and encoded as in `extract`."""

import argparse
import os
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch.profiler import ProfilerActivity, profile

from encoders.encoder import Encoder, load_encoder
from gpu_parts import trace
from gpu_parts.encoding import on_device
from gpu_parts.rows import Rows
from gpu_parts.timing import seconds_of, synchronize
from pipeline.extraction.encode import encode_events
from pipeline.video.events import Snippets
from pipeline.video.videos import VideoFile

ROWS_AN_EVENT = 8  # as from decoders
TOP_KERNELS = 6


def run(options: argparse.Namespace, rows: Rows) -> None:
    device = torch.device(options.device)
    encoder = load_encoder("i3d_r50", weights="random", device=options.device, batch_size=1 if options.quick else None)
    batches = 2 if options.quick else 50
    snippets = batches * encoder.batch_size
    _consume(encoder, 2 if options.quick else 8)
    began = time.perf_counter()
    _consume(encoder, batches)
    seconds = time.perf_counter() - began
    there = torch.randint(0, 256, (encoder.batch_size, *encoder.spec.snippet_shape), dtype=torch.uint8).to(device)
    alone = seconds_of(on_device(encoder, there), device, least=1, budget=0 if options.quick else 1)
    rows.add(
        f"i3d_r50 {encoder.precision}, snippets in memory",
        batch=encoder.batch_size,
        snippets_a_second=snippets / seconds,
        of_network_alone=snippets / seconds / (encoder.batch_size / alone),
    )
    activities = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * (device.type == "cuda")
    path = Path(os.environ["GPU_BENCH_WORK"]) / "trace.json"
    with profile(activities=activities) as profiler:
        synchronize(device)
        began = time.perf_counter()
        _consume(encoder, batches)
        synchronize(device)
        seconds = time.perf_counter() - began
    profiler.export_chrome_trace(str(path))
    events = trace.read(path)
    rows.add("under the profiler, of a batch", **trace.summary(events, wall_seconds=seconds, batches=batches),
             wall_ms=seconds * 1e3 / batches)  # fmt: skip
    for name, share, calls in trace.longest_kernels(events, TOP_KERNELS):
        rows.add(f"kernel {name[:100]}", of_kernels=share, calls=calls / batches)


def _consume(encoder: Encoder, batches: int) -> None:
    for _ in encode_events(_events(encoder, batches * encoder.batch_size), [encoder]):
        pass


def _events(encoder: Encoder, snippets: int) -> Iterator[Snippets]:
    """Yield snippets as a decoder does, from a few buffers in turn, so that a cache does not hold them."""
    video = VideoFile("made", Path("made.mp4"))
    each = encoder.spec.snippet_shape[0]
    shape = (16, ROWS_AN_EVENT * each, *encoder.spec.snippet_shape[1:])
    buffers = torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0)).numpy()
    for row in range(0, snippets, ROWS_AN_EVENT):
        count = min(ROWS_AN_EVENT, snippets - row)
        held = np.arange(row * each, (row + count) * each)
        pictures = buffers[row // ROWS_AN_EVENT % len(buffers)][: count * each]
        yield Snippets(video, row, held.reshape(count, each), held, pictures)

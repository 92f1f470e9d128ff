"""Snippets a second of one encoder: the published network unchanged, and the project's ways to run it."""

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from encoders.catalog import CATALOG
from encoders.encoder import Encoder, load_encoder
from encoders.errors import EncoderError
from gpu_parts.rows import Rows
from gpu_parts.timing import matmul_rate, peak_gigabytes, reset_peak, seconds_of, sibling

QUICK_BATCH = 1
QUICK = ("i3d_r50", "tsn_r50")  # with --quick the others show only that they run


def run(options: argparse.Namespace, rows: Rows, name: str) -> None:
    device = torch.device(options.device)
    flops = sibling("encode").network_flops(name)
    rates = {precision: matmul_rate(precision, device, quick=options.quick) for precision in ("fp32", "bf16")}
    rates["fp16"] = rates["bf16"]
    rows.add(f"{name}: one snippet", gflop=flops / 1e9, megabytes_to_send=_bytes(name) / 1e6)
    precisions = ("bf16",) if options.quick else ("fp16", "bf16", "fp32")
    for precision in precisions:
        began = time.perf_counter()
        try:
            encoder = load_encoder(
                name,
                weights="random",
                device=options.device,
                precision=precision,
                batch_size=QUICK_BATCH if options.quick else None,
            )
        except EncoderError as error:
            rows.failed(f"{name} {precision}", error)
            continue
        loading = time.perf_counter() - began
        ways = ways_of(encoder)
        if options.quick and name not in QUICK:
            ways = dict(list(ways.items())[:1])
        for way, begin in ways.items():
            work = Work(begin, encoder.batch_size, flops, rates[precision])
            measure(
                f"{name} {precision}, {way}", work, device, rows, options,
                seconds_to_load=loading, batch=encoder.batch_size, notes="; ".join(encoder.notes) or None,
            )  # fmt: skip
        del encoder
    if not options.quick or name == "tsn_r50":  # the others' own pooling needs pictures of full size
        eager(name, flops, rates["fp32"], device, rows, options)


def ways_of(encoder: Encoder) -> dict[str, Callable[[], Callable[[], Any]]]:
    """Return for each way a function that prepares it and returns the work of one batch."""
    batch = torch.randint(0, 256, (encoder.batch_size, *encoder.spec.snippet_shape), dtype=torch.uint8)
    there = batch.to(encoder.device)
    ways: dict[str, Callable[[], Callable[[], Any]]] = {
        "on the device": lambda: on_device(encoder, there),
        "from main memory": lambda: lambda: encoder.encode(batch),  # the product: pin, send, run, fetch, one by one
    }
    if encoder.device.type == "cuda":
        ways["on the device, CUDA graph"] = lambda: graphed(on_device(encoder, there))
    return ways


def on_device(encoder: Encoder, batch: torch.Tensor) -> Callable[[], torch.Tensor]:
    """Return the network alone, on a batch already on the device, as `encoders.prepare.run` runs it."""

    def work() -> torch.Tensor:
        with torch.inference_mode(), torch.backends.cudnn.flags(enabled=True, benchmark=True, allow_tf32=False):
            return encoder.network(batch)

    return work


def graphed(work: Callable[[], Any]) -> Callable[[], Any]:
    """Record the work once as a CUDA graph, and return a function that replays it without Python."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            work()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        kept = work()

    def replay() -> Any:
        graph.replay()
        return kept

    return replay


@dataclass(frozen=True)
class Work:
    """What `begin` returns: the encoding of `count` snippets of `flops` each, beside matrix products at `rate`."""

    begin: Callable[[], Callable[[], Any]]
    count: int
    flops: float
    rate: float


def measure(row: str, work: Work, device: torch.device, rows: Rows, options: argparse.Namespace, **more: Any) -> None:
    """Time the work and write the row."""
    reset_peak(device)
    try:
        seconds = seconds_of(work.begin(), device, **({"least": 1, "budget": 0, "warm_up": 0} if options.quick else {}))
    except Exception as error:  # any failure of a device becomes a row
        rows.failed(row, error)
        return
    per_second = work.count / seconds
    rows.add(
        row,
        snippets_a_second=per_second,
        of_matrix_rate=per_second * work.flops / work.rate,
        peak_gigabytes=peak_gigabytes(device),
        **more,
    )


def eager(name: str, flops: float, rate: float, device: torch.device, rows: Rows, options: argparse.Namespace) -> None:
    """Measure the published network in fp32 as its library has it, with inputs on the device."""
    bench = sibling("encode")
    spec = CATALOG[name].spec
    network = bench.published_network(name).to(device)
    count = QUICK_BATCH if options.quick else 16
    batch = torch.randint(0, 256, (count, *spec.snippet_shape), dtype=torch.uint8).to(device)
    way = bench.eager(network, spec, count, device)
    torch.backends.cudnn.allow_tf32 = False
    row = f"{name} published network, eager fp32, on the device"
    measure(row, Work(lambda: lambda: way(batch), count, flops, rate), device, rows, options, batch=count)


def _bytes(name: str) -> int:
    frames, height, width, channels = CATALOG[name].spec.snippet_shape
    return frames * height * width * channels

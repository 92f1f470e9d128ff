"""The machine: its card, and the rates of card and processor."""

import argparse
import os
import platform
import time

import numpy as np
import torch

from gpu_parts.rows import Rows
from gpu_parts.timing import copy_rate, matmul_rate, upload_rate


def run(options: argparse.Namespace, rows: Rows) -> None:
    device = torch.device(options.device)
    on_gpu = device.type == "cuda"
    rows.add(
        "machine",
        card=torch.cuda.get_device_name(device) if on_gpu else platform.processor() or platform.machine(),
        gigabytes=torch.cuda.get_device_properties(device).total_memory / 1e9 if on_gpu else None,
        cores=len(os.sched_getaffinity(0)),
        python=platform.python_version(),
        torch=torch.__version__,
        numpy=np.__version__,
        cuda=torch.version.cuda,
        cudnn=torch.backends.cudnn.version() if on_gpu else None,
    )
    for precision in ("bf16", "fp16", "fp32"):
        if on_gpu or precision != "fp16":  # emulated on most processors
            rate = matmul_rate(precision, device, quick=options.quick)
            rows.add(f"matrix product {precision}", tflops=rate / 1e12)
    if on_gpu:
        torch.backends.cuda.matmul.allow_tf32 = True
        rows.add("matrix product tf32", tflops=matmul_rate("fp32", device) / 1e12)
        torch.backends.cuda.matmul.allow_tf32 = False
    rows.add("device memory, read and written", gigabytes_a_second=copy_rate(device, quick=options.quick) / 1e9)
    if on_gpu:
        for name, pinned in (("pinned", True), ("pageable", False)):
            rows.add(f"to the GPU, {name}", gigabytes_a_second=upload_rate(device, pinned=pinned) / 1e9)
        rows.add("pin_memory of 154 MB (128 snippets of 8 frames)", milliseconds=_pinning() * 1e3)
    rows.add("main memory, one thread, read and written", gigabytes_a_second=_host_copy_rate() / 1e9)


def _host_copy_rate() -> float:
    source = np.ones(1 << 27, np.uint8)
    target = np.empty_like(source)
    best = float("inf")
    for _ in range(6):
        start = time.perf_counter()
        np.copyto(target, source)
        best = min(best, time.perf_counter() - start)
    return 2 * len(source) / best


def _pinning() -> float:
    """Return the seconds of `pin_memory` of a batch, as in the encoder, once the allocator has a block of its size."""
    batch = torch.zeros(154_000_000, dtype=torch.uint8)
    times = []
    for _ in range(5):
        start = time.perf_counter()
        batch.pin_memory()
        times.append(time.perf_counter() - start)
    return min(times[1:])

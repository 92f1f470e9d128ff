"""Measurements on a device: time, rates of the hardware, memory."""

import statistics
import time
from collections.abc import Callable
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def sibling(name: str) -> ModuleType:
    """Return the benchmark scripts/bench/NAME as a module."""
    path = Path(__file__).resolve().parents[1] / name
    loader = SourceFileLoader(f"bench_{name}", str(path))
    spec = spec_from_loader(loader.name, loader)
    assert spec is not None
    module = module_from_spec(spec)
    loader.exec_module(module)
    return module


def synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def seconds_of(
    work: Callable[[], Any], device: torch.device, *, least: int = 3, budget: float = 1.5, warm_up: int = 2
) -> float:
    """Return the median wall seconds of `work`, each from an idle device to an idle device.

    Args:
        least: minimum number of runs; more follow until `budget` seconds are over.
        warm_up: runs before, which do not count.
    """
    for _ in range(warm_up):
        work()
    times: list[float] = []
    while len(times) < least or sum(times) < budget:
        synchronize(device)
        start = time.perf_counter()
        work()
        synchronize(device)
        times.append(time.perf_counter() - start)
        if len(times) >= 1000:
            break
    return statistics.median(times)


def matmul_rate(precision: str, device: torch.device, *, quick: bool = False) -> float:
    """Return floating point operations a second of a large matrix product of random numbers, without TF32."""
    size = 8192 if device.type == "cuda" else (768 if quick else 2048)
    left = torch.randn((size, size), device=device).to(DTYPES[precision])
    return 2 * size**3 / seconds_of(lambda: left @ left, device, budget=0.3)


def copy_rate(device: torch.device, *, quick: bool = False) -> float:
    """Return bytes read and written a second by a large copy in the device's memory."""
    count = 1 << (26 if quick else 31)
    source = torch.empty(count, dtype=torch.uint8, device=device).random_()
    target = torch.empty_like(source)
    return 2 * count / seconds_of(lambda: target.copy_(source), device, budget=0.3)


def upload_rate(device: torch.device, *, pinned: bool) -> float:
    """Return bytes a second from main memory to the GPU."""
    source = torch.empty(1 << 28, dtype=torch.uint8).random_()
    source = source.pin_memory() if pinned else source
    target = torch.empty_like(source, device=device)
    return len(source) / seconds_of(lambda: target.copy_(source, non_blocking=pinned), device, budget=0.3)


def reset_peak(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def peak_gigabytes(device: torch.device) -> float | None:
    """Return torch's peak memory on the GPU since `reset_peak`, in GB."""
    return torch.cuda.max_memory_allocated(device) / 1e9 if device.type == "cuda" else None

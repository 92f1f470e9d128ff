"""Read a trace of torch.profiler of a loop on a GPU: busy or idle time, transfers, synchronizations."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

SYNCHRONISING = ("cudaStreamSynchronize", "cudaDeviceSynchronize", "cudaEventSynchronize", "cudaMemcpy")
ALLOCATING = ("cudaMalloc", "cudaFree", "cudaHostAlloc", "cudaFreeHost", "cudaHostRegister")
Interval = tuple[float, float]


def read(path: Path) -> list[dict[str, Any]]:
    """Return the events of a trace with a duration: name, category, begin and duration in microseconds."""
    events: list[dict[str, Any]] = json.loads(path.read_text())["traceEvents"]
    return [event for event in events if event.get("ph") == "X"]


def summary(events: list[dict[str, Any]], *, wall_seconds: float, batches: int) -> dict[str, Any]:
    """Summarize `batches` batches within `wall_seconds`; milliseconds and numbers are per batch."""
    kernels = _intervals(events, "kernel")
    uploads = _intervals(events, "gpu_memcpy", "HtoD")
    calls = Counter(event["name"] for event in events if event.get("cat") in ("cuda_runtime", "cuda_driver"))
    wall = wall_seconds * 1e6
    copied = sum(event["args"].get("bytes", 0) for event in _chosen(events, "gpu_memcpy", "HtoD"))
    sending = sum(end - begin for begin, end in uploads)
    return {
        "gpu_busy": covered(kernels) / wall,
        "kernels_ms": covered(kernels) / 1e3 / batches,
        "htod_ms": sending / 1e3 / batches,
        "htod_gigabytes_a_second": copied / sending / 1e3 if sending else None,
        "htod_beside_kernels": _overlap(uploads, kernels) / sending if sending else None,
        "kernels": len(kernels) / batches,
        "copies": "; ".join(f"{name} {count / batches:.2g}" for name, count in _copies(events).most_common()),
        **{name: calls[name] / batches for name in (*SYNCHRONISING, *ALLOCATING) if calls[name]},
    }


def longest_kernels(events: list[dict[str, Any]], count: int) -> list[tuple[str, float, int]]:
    """Return name, share of the time of all kernels, and number of calls of the longest kernels."""
    times: Counter[str] = Counter()
    calls: Counter[str] = Counter()
    for event in _chosen(events, "kernel"):
        times[event["name"]] += event["dur"]
        calls[event["name"]] += 1
    whole = sum(times.values())
    return [(name, time / whole, calls[name]) for name, time in times.most_common(count)]


def covered(intervals: list[Interval]) -> float:
    """Return the length of the union of the intervals."""
    total, reached = 0.0, float("-inf")
    for begin, end in sorted(intervals):
        total += max(0.0, end - max(begin, reached))
        reached = max(reached, end)
    return total


def _overlap(some: list[Interval], others: list[Interval]) -> float:
    return covered(some) + covered(others) - covered([*some, *others])


def _chosen(events: list[dict[str, Any]], category: str, word: str = "") -> list[dict[str, Any]]:
    return [event for event in events if event.get("cat") == category and word in event["name"]]


def _intervals(events: list[dict[str, Any]], category: str, word: str = "") -> list[Interval]:
    return [(event["ts"], event["ts"] + event["dur"]) for event in _chosen(events, category, word)]


def _copies(events: list[dict[str, Any]]) -> Counter[str]:
    return Counter(event["name"] for event in _chosen(events, "gpu_memcpy"))

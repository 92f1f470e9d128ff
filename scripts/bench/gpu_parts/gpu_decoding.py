"""Decoding on the GPU (NVDEC), if an installed library supports it."""

import argparse
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import av
import torch

from gpu_parts.rows import Rows

SIDE_BY_SIDE = 8


def run_gpu_decoding(videos: list[Path], options: argparse.Namespace, rows: Rows) -> None:
    ways: dict[str, Callable[[Path], int]] = {"PyAV": _pyav, "torchcodec": _torchcodec}
    if torch.device(options.device).type != "cuda":
        rows.add("decoding on the GPU", skipped="no GPU")
        return
    for library, decode in ways.items():
        for video in videos:
            row = f"NVDEC through {library}, {video.name}"
            try:
                rows.add(row, one_at_a_time=_rate(decode, video, 1), side_by_side=_rate(decode, video, SIDE_BY_SIDE))
            except Exception as error:  # libraries, drivers and cards fail in many ways
                rows.add(row, not_here=f"{type(error).__name__}: {error}"[:200])


def _rate(decode: Callable[[Path], int], video: Path, threads: int) -> float:
    """Return frames a second of `threads` threads, each decoding the file once."""
    decode(video)
    with ThreadPoolExecutor(threads) as pool:
        began = time.perf_counter()
        frames = sum(pool.map(decode, [video] * threads))
        return frames / (time.perf_counter() - began)


def _pyav(video: Path) -> int:
    """Return the number of decoded frames, without conversion; PyAV copies them to main memory."""
    from av.codec.hwaccel import HWAccel

    hardware = HWAccel(device_type="cuda", allow_software_fallback=False)
    with av.open(str(video), hwaccel=hardware) as container:
        return sum(1 for _ in container.decode(video=0))


def _torchcodec(video: Path) -> int:
    from torchcodec.decoders import VideoDecoder  # type: ignore[import-not-found, unused-ignore]

    return sum(1 for _ in VideoDecoder(str(video), device="cuda"))

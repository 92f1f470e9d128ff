"""SoLa's fit and enhancement: the product against a literal version of the method, and possible speed-ups on a GPU."""

import argparse
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch

from gpu_parts.encoding import graphed
from gpu_parts.rows import Rows
from gpu_parts.sola_resident import Resident
from gpu_parts.timing import copy_rate, seconds_of, sibling, synchronize
from sola.config import SolaConfig
from sola.enhance import enhance
from sola.fit import fit
from sola.fit_state import new_fit_state
from sola.fit_step import train_step
from sola.module import SolaModule
from sola.sampling import WindowBatch

FIRST_STEPS = 5  # not counted


class Memory:
    """Videos that are views of one array."""

    def __init__(self, rows: np.ndarray, length: int) -> None:
        self.array, self._length = rows, length

    def __len__(self) -> int:
        return len(self.array) // self._length

    def length(self, index: int) -> int:
        return self._length

    def rows(self, index: int, start: int, stop: int) -> np.ndarray:
        return self.array[index * self._length :][start:stop]


def run(options: argparse.Namespace, rows: Rows) -> None:
    device = torch.device(options.device)
    batch, channels, steps = (16, 128, 8) if options.quick else (256, 2048, 60)
    torch.manual_seed(0)
    features = torch.rand((batch * 120, channels), device=device)
    source = Memory(features.cpu().numpy(), 120)
    config = SolaConfig(batch_size=batch, device=device.type, steps=steps)
    base = _plain(features, config, channels, device, rows, steps)

    def add(row: str, seconds: float) -> None:
        rows.add(row, steps_a_second=1 / seconds, ms=seconds * 1e3, times_plain=base / seconds)

    for precision in ("fp32", "bf16"):
        chosen = replace(config, precision=precision)
        _try(rows, f"fit(), {precision}", lambda c=chosen: _product(source, c, channels), add)
        _try(
            rows, f"train_step, windows on the device, {precision}", lambda c=chosen: _step(features, c, channels), add
        )
    for precision in ("fp32", "bf16", "tf32"):
        row = f"data on the device, no measures, {precision}"
        _try(rows, f"{row}, eager", lambda p=precision: _resident(features, config, channels, p), add)
        if device.type == "cuda":
            graph = lambda p=precision: _resident(features, config, channels, p, graph=True)  # noqa: E731
            _try(rows, f"{row}, CUDA graph", graph, add)
    _enhancing(options, channels, device, rows)
    compiled = lambda: _resident(features, config, channels, "bf16", compiled=True)  # noqa: E731
    if not options.quick:
        _try(rows, "data on the device, no measures, bf16, compiled", compiled, add)


def _try(rows: Rows, row: str, work: Callable[[], float], add: Callable[[str, float], None]) -> None:
    try:
        add(row, work())
    except Exception as error:  # the other ways must still run
        rows.failed(row, error)


def _plain(
    features: torch.Tensor, config: SolaConfig, channels: int, device: torch.device, rows: Rows, steps: int
) -> float:
    """Return the seconds of a step of the plain loop in fp32, with and without transfers of windows."""
    bench = sibling("sola")
    fit_state = new_fit_state(channels, config)
    optimizer = torch.optim.AdamW([*fit_state.module.parameters(), *fit_state.predictor.parameters()], lr=1e-4)
    here = features.view(config.batch_size, -1, channels)[:, : config.window_snippets].cpu().contiguous()
    there = here.to(device)
    seconds = {}
    for row, windows in (("plain loop, windows sent", here), ("plain loop, windows on the device", there)):
        seconds[row] = seconds_of(
            lambda w=windows: bench.plain_step(fit_state, optimizer, w.to(device), config),
            device,
            least=3,
            budget=steps / 60,
        )
        rows.add(row, steps_a_second=1 / seconds[row], ms=seconds[row] * 1e3)
    return seconds["plain loop, windows sent"]


def _product(source: Memory, config: SolaConfig, channels: int) -> float:
    """Return the median seconds of a step of `fit`."""
    ends: list[float] = []
    fit(source, config, channels=channels, on_step=lambda record, total: ends.append(time.perf_counter()))
    return float(np.median(np.diff(ends[min(FIRST_STEPS, len(ends) - 3) :])))


def _step(features: torch.Tensor, config: SolaConfig, channels: int) -> float:
    """Return the seconds of a step with windows on the device: arithmetic, measures and synchronizations."""
    fit_state = new_fit_state(channels, config)
    rows = features.view(config.batch_size, -1, channels)[:, fit_state.plan.positions[0].to(features.device)]
    ends = torch.full((config.batch_size,), config.window_snippets)
    batch = WindowBatch(rows, torch.zeros_like(ends), ends)
    return seconds_of(lambda: train_step(fit_state, batch, step=1), features.device, budget=0.7)


def _resident(
    features: torch.Tensor,
    config: SolaConfig,
    channels: int,
    precision: str,
    *,
    graph: bool = False,
    compiled: bool = False,
) -> float:
    step = Resident(features, config, channels, precision, compiled=compiled).step
    try:
        return seconds_of(graphed(step) if graph else step, features.device, budget=0.7, warm_up=4)
    finally:
        torch.set_float32_matmul_precision("highest")


def _enhancing(options: argparse.Namespace, channels: int, device: torch.device, rows: Rows) -> None:
    """Measure bytes of input a second, relative to the memory's rate."""
    module = SolaModule(channels, SolaConfig()).to(device).eval()
    features = np.ones((1024 if options.quick else 65536, channels), np.float32)
    memory = copy_rate(device, quick=options.quick)
    for precision in ("fp32", "bf16"):

        def work(precision: str = precision) -> None:
            for _ in enhance(module, [features], precision=precision):
                pass

        work()
        synchronize(device)
        began = time.perf_counter()
        work()
        rate = features.nbytes / (time.perf_counter() - began)
        rows.add(f"enhance(), {precision}", gigabytes_a_second=rate / 1e9, of_memory_rate=2 * rate / memory)
    there = torch.from_numpy(features[:16384])[None].to(device)
    with torch.inference_mode():
        seconds = seconds_of(lambda: module(there), device, least=2, budget=0.5)
    rate = there.nbytes / seconds
    rows.add("module alone, fp32, on the device", gigabytes_a_second=rate / 1e9, of_memory_rate=2 * rate / memory)

"""How long the experiment takes: a few steps of each kind are measured on this machine, on made features of full size.

a fit of SoLa      its steps x the time of one; cells with the same fit share it
a head             epochs x steps x the time of one, and its pass over the videos
the rest of a cell enhancing or filtering all rows, and the linear evaluation
"""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pipeline.ablation.cell import share_sola
from pipeline.ablation.plan import Cell, value_text
from pipeline.annotations import Annotations, VideoAnnotations, write_annotations
from pipeline.annotations.segments import Segment
from pipeline.config import LocalizeConfig, ProbeConfig
from pipeline.detection.model import load_model
from pipeline.heads.config import TrainConfig
from pipeline.snippets import SnippetPlan
from pipeline.stages.enhance import enhance_store
from pipeline.stages.linear_probe import probe
from pipeline.stages.localize import localize
from pipeline.stages.train import train
from pipeline.store.feature_store import MODULE_FILE, FeatureStore
from pipeline.store.spec import StoreSpec
from pipeline.store.window_source import StoreSource
from pipeline.text.plain import counted
from pipeline.text.table import duration, table_text
from pipeline.training.schedule import steps_per_epoch
from sola.config import SolaConfig
from sola.fit import fit

LEARNED, TESTED = 16, 4  # videos to measure on
PLAN = SnippetPlan(fps=Fraction(1), window_frames=Fraction(1), stride_frames=Fraction(1), num_frames=1)


def print_forecast(source: dict[str, Any], cells: Sequence[Cell], *, flow: bool) -> None:
    """Print the parts of the experiment with their number and time, and what they need in memory and on disk.

    Args:
        source: see `experiment.read_source`.
        cells: those of one store.
        flow: whether there is a flow stream in files of its own, as wide as that of RGB.
    """
    size = source["size"]
    widths = [*size["channels"], 2 * size["channels"][0]] if flow else size["channels"]
    videos = size["training"] + size["validation"]
    rows: list[list[str]] = []
    total, largest = 0.0, 0.0
    for channels in widths:
        with tempfile.TemporaryDirectory() as folder:
            parts = _parts(Path(folder), size, channels, cells)
        rows += [
            [f"{channels} channels, {name}", f"{count:,}", duration(each), duration(count * each)]
            for name, count, each in parts
        ]
        total += sum(count * each for _, count, each in parts)
        largest = max(largest, 4.0 * videos * size["rows"] * channels)
    in_all = ["in all, one cell at a time", f"{len(widths) * len(cells)} cells", "", duration(total)]
    print(table_text("The experiment at full size", ["", "times", "each", "together"], [*rows, in_all], sums=1))
    stored = sum(4.0 * videos * size["rows"] * width for width in widths)
    probed = sum(min(ProbeConfig().max_videos, size[subset]) for subset in ("training", "validation"))
    held = 4.0 * probed * size["rows"] * max(widths)
    gpu = torch.cuda.is_available()
    machine = torch.cuda.get_device_name() if gpu else counted(torch.get_num_threads(), "core")
    print(f"Measured on {machine}; with n workers of this kind, n times as fast, down to the longest cell.")
    print(
        f"Memory: {_peak():.1f} GB were used here, and the linear evaluation holds up to {held / 1e9:.1f} GB of rows."
    )
    if gpu:
        print(f"Graphics memory: {torch.cuda.max_memory_allocated() / 1e9:.1f} GB.")
    print(f"Disk: {stored / 1e9:.1f} GB of features; a running cell makes up to {largest / 1e9:.1f} GB more.")


def _parts(folder: Path, size: dict[str, Any], channels: int, cells: Sequence[Cell]) -> list[tuple[str, int, float]]:
    """Return name, number and seconds of each part of the experiment on features of so many channels."""
    store, annotations = _made(folder, size, channels)
    groups = share_sola(cells, {cell.name: Path("store") for cell in cells})
    fits: dict[tuple[int, ...], list[SolaConfig]] = {}
    for config in (group[0].config.sola for group in groups if group[0].config.use_sola):
        fits.setdefault(config.kernel_sizes, []).append(config)
    parts = []
    for kernels, same in fits.items():
        seconds = (same[0].steps or 0) * _fit_step(store, same[0])
        parts.append((f"fit of SoLa, kernels {value_text(kernels)}", len(same), seconds))
    kinds: dict[str, list[Cell]] = {}
    for cell in cells:
        kinds.setdefault(cell.config.train.head.kind, []).append(cell)
    share = (size["training"] + size["validation"]) / (LEARNED + TESTED)
    for kind, of_kind in kinds.items():
        config = replace(
            of_kind[0].config.train, train_subset="training", validation_subset="validation", seed=0
        )  # the subsets of the made features
        step, located = _head(store, annotations, folder / kind, config)
        steps = config.epochs * steps_per_epoch(size["training"], config)
        parts.append((f"{kind}: {steps:,} steps, then all videos", len(of_kind), steps * step + share * located))
    one_step = SolaConfig(steps=1, hidden=512, adapt=False)
    # A fit and its measures take as long whatever the number of videos, so they do not count here.
    _seconds(lambda: enhance_store(store, folder / "f", one_step))
    module = folder / "f" / MODULE_FILE
    enhanced = _seconds(lambda: enhance_store(store, folder / "e", one_step, module_file=module))
    changed = sum(c.config.use_sola or c.config.filter is not None or c.config.rotate for c in cells)
    parts.append(("enhance or filter all rows", changed, share * enhanced))
    settings = ProbeConfig(seeds=(0,), train_subset="training", test_subset="validation")
    probed = _seconds(lambda: probe([store], annotations, settings))
    most = settings.max_videos
    parts.append(("linear evaluation", len(cells), probed * min(most, size["training"]) / LEARNED))
    return parts


def _made(folder: Path, size: dict[str, Any], channels: int) -> tuple[FeatureStore, Path]:
    """Return a store of random features and its annotations: as many rows and channels as the real ones have."""
    random = np.random.default_rng(0)
    weights = {"name": "made", "sha256": None, "random": True, "seed": 0}
    spec = StoreSpec(
        channels=channels, dtype="float32", plan=PLAN, encoder={"name": "made"}, weights=weights, precision="fp32",
        decoder="none",
    )  # fmt: skip
    store, videos = FeatureStore.create(folder / "store", spec), {}
    for number in range(LEARNED + TESTED):
        count = size["rows"]
        with store.writer(f"v{number}") as writer:
            writer.append(random.normal(0, 1, (count, channels)).astype(np.float32))
            writer.commit({"duration_seconds": float(count), "duration_exact": str(count), "source": {"name": "made"}})
        subset = "training" if number < LEARNED else "validation"
        segments = (Segment((0.3 * count, 0.5 * count), "action"),)
        videos[f"v{number}"] = VideoAnnotations(f"v{number}", subset, float(count), None, segments)
    write_annotations(folder / "a.json", Annotations("1", videos, ("action",)))
    return store, folder / "a.json"


def _fit_step(store: FeatureStore, config: SolaConfig) -> float:
    """Return the seconds of a step: what two longer fits differ by."""
    windows = -(-config.batch_size // (LEARNED + TESTED))
    short, long = (replace(config, steps=steps, windows_per_video=windows) for steps in (2, 6))
    source = StoreSource(store)
    times = [_seconds(lambda c=c: fit(source, c, channels=store.spec.channels)) for c in (short, long) * 2]
    return _each(min(times[::2]), min(times[1::2]), long.steps - short.steps)


def _head(store: FeatureStore, annotations: Path, out: Path, config: TrainConfig) -> tuple[float, float]:
    """Return the seconds of a training step, and of locating actions in all made videos."""
    once = replace(config, epochs=1, warmup_epochs=0, validate_every_epochs=1)
    passes = -(-LEARNED // config.batch_size)  # steps of a pass over the made videos
    short, long = (replace(once, min_steps_per_epoch=least) for least in (1, 2 * passes))
    trained = [
        _seconds(lambda c=c, n=n: train(store, annotations, out / str(n), c)) for n, c in enumerate((short, long))
    ]
    steps = steps_per_epoch(LEARNED, long) - steps_per_epoch(LEARNED, short)
    model = load_model(out / "0")
    located = _seconds(lambda: localize([store.path], model, LocalizeConfig()))
    return _each(*trained, steps), located


def _each(short: float, long: float, more: int) -> float:
    """Return the seconds of each of the steps that the longer work has more; at most those of all its work."""
    return (long - short if long > short else long) / more  # on a busy machine the shorter work may take longer


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _peak() -> float:
    """Return the peak memory of this process in GB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e9 if sys.platform == "darwin" else 1e6)

"""Run the cells of an ablation on a Ray cluster. A job is a cell; it writes its results as files."""

from __future__ import annotations

import os
import sys
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from pipeline.ablation.cell import CellResult, module_of, share_sola, try_cell
from pipeline.ablation.plan import Cell
from pipeline.cluster.ray_pool import JobLost, RayPool
from pipeline.cluster.ray_start import capacity_in, connected
from pipeline.cluster.worker import JobResult, Ready, RowsAdded
from pipeline.config import AblateConfig


@dataclass(frozen=True)
class CellJob:
    """A job: one cell. Its result is a `CellResult` and the seconds it took. For the arguments see `try_cell`."""

    cell: Cell
    store: Path
    folder: Path
    keep_features: bool
    module: Path | None

    @property
    def key(self) -> str:
        return self.cell.name


def open_cells(cores: int) -> Ready:
    """Return the work of a worker: one cell after the other, on `cores` cores."""
    torch.set_num_threads(cores)
    sys.stderr = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115  (progress bars of many cells would mix)

    def work(jobs: Iterator[CellJob]) -> Generator[JobResult | RowsAdded, None, None]:
        for job in jobs:
            yield JobResult(job.key, try_cell(job.cell, job.store, job.folder, job.keep_features, job.module))

    return Ready(None, work)


def work_on_ray(
    cells: Sequence[Cell], stores: Mapping[str, Path], out: Path, config: AblateConfig
) -> Iterator[tuple[CellResult, float]]:
    """Run the cells; yield each cell's result and the seconds it took, as they end.

    Cells that share a SoLa module form a group: the first fits the module, and the others start when it is done.
    """
    waiting: dict[str, list[Cell]] = {}  # by name of the cell whose module they wait for

    def job(cell: Cell, module: Path | None, others: Sequence[Cell]) -> CellJob:
        waiting[cell.name] = list(others)
        return CellJob(cell, stores[cell.name], out / "cells" / cell.name, config.keep_features, module)

    groups = share_sola(cells, stores)
    with connected(config.execution) as ray:
        capacity = capacity_in(ray, config.execution)
        opener = f"{__name__}:{open_cells.__name__}"
        with RayPool(ray, opener, (capacity.cpus,), capacity=capacity, depth=1) as pool:
            for ended in pool.run(job(group[0], None, group[1:]) for group in groups):
                if isinstance(ended, RowsAdded):
                    continue
                if isinstance(ended, JobLost):
                    result, seconds = CellResult(ended.job.cell, {}, ended.reason), 0.0
                else:
                    result, seconds = ended.result
                yield result, seconds
                others = waiting.pop(result.cell.name)
                module = None if result.failure else module_of(result.cell, out / "cells" / result.cell.name)
                if module is not None:
                    for other in others:
                        pool.add(job(other, module, []))
                elif others:  # the next cell fits the module for the rest
                    pool.add(job(others[0], None, others[1:]))

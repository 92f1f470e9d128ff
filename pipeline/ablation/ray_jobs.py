"""Run the cells of an ablation on a Ray cluster. A job is a cell; it writes its results as files."""

from __future__ import annotations

import os
import sys
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from pipeline.ablation.cell import CellResult, try_cell
from pipeline.ablation.shared_fits import CellArguments, SharedFits
from pipeline.cluster.config import ExecutionConfig
from pipeline.cluster.ray_pool import JobLost, RayPool
from pipeline.cluster.ray_start import capacity_in, connected
from pipeline.cluster.worker import JobResult, Ready, RowsAdded


@dataclass(frozen=True)
class CellJob:
    """A job: one cell. Its result is a `CellResult` and the seconds it took."""

    arguments: CellArguments

    @property
    def key(self) -> str:
        return self.arguments[0].name


def open_cells(cores: int) -> Ready:
    """Return the work of a worker: one cell after the other, on `cores` cores."""
    torch.set_num_threads(cores)
    sys.stderr = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115  (progress bars of many cells would mix)

    def work(jobs: Iterator[CellJob]) -> Generator[JobResult | RowsAdded, None, None]:
        for job in jobs:
            yield JobResult(job.key, try_cell(*job.arguments))

    return Ready(None, work)


def work_on_ray(fits: SharedFits, execution: ExecutionConfig) -> Iterator[tuple[CellResult, float]]:
    """Run the cells; yield each cell's result and the seconds it took, as they end."""
    with connected(execution) as ray:
        capacity = capacity_in(ray, execution)
        opener = f"{__name__}:{open_cells.__name__}"
        with RayPool(ray, opener, (capacity.cpus,), capacity=capacity, depth=1) as pool:
            for ended in pool.run(map(CellJob, fits.first())):
                if isinstance(ended, RowsAdded):
                    continue
                if isinstance(ended, JobLost):
                    result, seconds = CellResult(ended.job.arguments[0], {}, ended.reason), 0.0
                else:
                    result, seconds = ended.result
                yield result, seconds
                for arguments in fits.after(result):
                    pool.add(CellJob(arguments))

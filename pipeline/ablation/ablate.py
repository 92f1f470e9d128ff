"""Run an ablation: extract the features once, then run the cells, several at a time.

OUT/features/<encoder>-<hash>/    a store for each setting of [extract], if the ablation starts from videos
OUT/cells/<name>/                 a folder for each cell; finished cells are not run again. Cells with the same SoLa
                                  (settings, seed, features) fit it once: the others use the module of the first
OUT/results.csv, summary.csv      see `pipeline.ablation.results`
"""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import sys
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, replace
from hashlib import sha256
from pathlib import Path

import torch

from pipeline.ablation.cell import CellResult, try_cell
from pipeline.ablation.config import AblateConfig
from pipeline.ablation.plan import Cell, read_plan
from pipeline.ablation.ray_jobs import work_on_ray
from pipeline.ablation.shared_fits import CellArguments, SharedFits
from pipeline.cluster.config import ExtractExecutionConfig, settings_of_results
from pipeline.cluster.cores import usable_cores
from pipeline.errors import PipelineError
from pipeline.progress import progress
from pipeline.stages.extract import extract
from pipeline.store.feature_store import FeatureStore
from pipeline.text.plain import counted
from sola.old_names import OnOld

Say = Callable[[str], None]


def ablate(file: Path, out: Path, config: AblateConfig, *, say: Say, on_old: OnOld | None = None) -> list[CellResult]:
    """Run the ablation in `file` and return the results in the order of the cells.

    A failed cell does not stop the others. After an interruption, the same call resumes.

    Args:
        file: the options that vary; see `pipeline.ablation.plan`.
        out: the folder of results.
        config: data, jobs and what to keep.
        say: called with each line of progress.
        on_old: called with each old name of an option in the file, and the new one.

    Raises:
        PipelineError, SolaError, EncoderError: the file is not accepted, or there are no features.
    """
    cells = read_plan(file, config, on_old=on_old)
    stores = _stores(cells, out, config, say)
    fits = SharedFits(cells, stores, out, keep_features=config.keep_features)
    if config.execution.executor == "ray":
        say(f"{counted(len(cells), 'cell')}, by Ray workers")
        work = work_on_ray(fits, config.execution)
    else:
        jobs = min(config.jobs or default_jobs(), len(cells))
        say(f"{counted(len(cells), 'cell')}, {jobs} at a time")
        work = _work(fits) if jobs == 1 else _work_in_processes(fits, jobs)
    results: dict[str, CellResult] = {}
    for result, seconds in work:
        results[result.cell.name] = result
        text = result.failure and f"failed: {result.failure}"
        text = text or _scores_text(result.scores)
        say(f"{len(results)}/{len(cells)} {result.cell.label}, seed {result.cell.seed}: {text} [{seconds:.1f} s]")
    return [results[cell.name] for cell in cells]


def _scores_text(scores: dict[str, float]) -> str:
    text = f"accuracy {100 * scores['accuracy']:.1f}%"
    mean_ap = scores.get("map_own", scores.get("map_activitynet"))
    return text if mean_ap is None else f"{text}, mAP {100 * mean_ap:.1f}%"


def default_jobs() -> int:
    """Return how many cells this machine runs at a time: one with a GPU, else half the number of cores."""
    return 1 if torch.cuda.is_available() else max(1, usable_cores() // 2)


def _stores(cells: list[Cell], out: Path, config: AblateConfig, say: Say) -> dict[str, Path]:
    """Return the folder of each cell's plain features, by the cell's name; extract them if the cells name videos."""
    stores: dict[str, Path] = {}
    extracted: set[Path] = set()
    for cell in cells:
        if cell.store is not None:
            stores[cell.name] = cell.store
            FeatureStore.open(cell.store)
            continue
        settings = cell.config.extract
        facts = json.dumps(settings_of_results(settings), sort_keys=True, default=str)
        encoder = "".join(c if c.isalnum() else "_" for c in settings.encoder)[-60:]
        folder = out / "features" / f"{encoder}-{sha256(facts.encode()).hexdigest()[:10]}"
        stores[cell.name] = folder
        if folder in extracted:
            continue
        if config.execution.executor == "ray" and settings.execution.executor == "local":
            settings = replace(settings, execution=ExtractExecutionConfig(**asdict(config.execution)))
        with progress(f"extract {settings.encoder}", total=1) as report:
            store, summary = extract(cell.config.videos, folder, settings, report=report)
        extracted.add(folder)
        say(f"extract {settings.encoder}: {summary.text()}")
        for video_id, reason in summary.failed.items():
            say(f"  failed: {video_id}: {reason}")
        if not store.ids():
            raise PipelineError(f"no video could be extracted, {len(summary.failed)} failed")
    return stores


def _work(fits: SharedFits) -> Iterator[tuple[CellResult, float]]:
    """Yield each cell's result and its seconds; the cells run one after the other."""
    ready = deque(fits.first())
    while ready:
        result, seconds = try_cell(*ready.popleft())
        yield result, seconds
        ready.extendleft(reversed(fits.after(result)))


def _work_in_processes(fits: SharedFits, jobs: int) -> Iterator[tuple[CellResult, float]]:
    """Yield each cell's result and its seconds, in the order in which cells finish."""
    pool = ProcessPoolExecutor(
        jobs,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_start_process,
        initargs=(max(1, usable_cores() // jobs),),
    )
    running: dict[Future[tuple[CellResult, float]], Cell] = {}

    def start(cells: list[CellArguments]) -> None:
        for arguments in cells:
            try:
                future = pool.submit(try_cell, *arguments)
            except BrokenProcessPool as error:  # reported as the cell's failure, as for running cells
                future = Future()
                future.set_exception(error)
            running[future] = arguments[0]

    try:
        start(fits.first())
        while running:
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                result, seconds = _result_of(future, running.pop(future))
                yield result, seconds
                start(fits.after(result))
        pool.shutdown()
    except BaseException:
        # End running cells; the next run resumes from what their stages have saved.
        pool.shutdown(wait=False, cancel_futures=True)
        for process in multiprocessing.active_children():
            process.terminate()
        raise


def _result_of(future: Future[tuple[CellResult, float]], cell: Cell) -> tuple[CellResult, float]:
    try:
        return future.result()
    except BrokenProcessPool:
        reason = "a process was killed, perhaps out of memory: run the same command again with fewer --jobs"
        return CellResult(cell, {}, reason), 0.0


def _start_process(threads: int) -> None:
    """Give a process its share of the cores, and leave Ctrl-C and progress bars to the parent process."""
    torch.set_num_threads(threads)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.stderr = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115  (for as long as the process lives)

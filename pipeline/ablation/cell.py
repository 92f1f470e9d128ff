"""One cell of an ablation: the stages of `run` after extraction, and the linear evaluation, in a folder of its own.

With --no-head, a cell has enhanced features and the linear evaluation only.

CELL/run.json, enhanced/, model/, detections.json, evaluation.json    as `run` writes them
CELL/cell.json                                                        the scores; written last, it marks a finished cell
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from pipeline.ablation.plan import DATA, Cell
from pipeline.annotations import sha256_of_annotations
from pipeline.cluster.config import settings_of_results
from pipeline.config import RunConfig
from pipeline.errors import PipelineError, SolaPipelineError
from pipeline.stages.enhance import GAUGE_FILE, HISTORY_FILE, enhance_store
from pipeline.stages.filter_store import filter_store
from pipeline.stages.linear_probe import measures, probe
from pipeline.stages.rotated_store import rotated_store
from pipeline.stages.run import run_on_features
from pipeline.stages.run_record import Stages
from pipeline.storage.atomic_files import write_json
from pipeline.storage.read_files import read_json, sha256_of_file
from pipeline.store.feature_store import MODULE_FILE, FeatureStore
from sola.diagnostics import gain
from sola.fit import StepRecord


def work_cell(
    cell: Cell,
    store: FeatureStore,
    folder: Path,
    *,
    keep_features: bool,
    module: Path | None = None,
    stages: Stages | None = None,
) -> dict[str, float]:
    """Run a cell and return its scores by name, from 0 to 1; a finished cell's scores are read from its folder.

    Args:
        cell: its settings.
        store: plain features.
        folder: of the cell; an unfinished cell resumes.
        keep_features: keep the enhanced features of the finished cell.
        module: of a cell that shares this one's SoLa, see `share_sola`.
        stages: the record of the folder. Default: a silent one.

    Raises:
        PipelineError, SolaError: a stage fails.
    """
    given = identity_of(cell, store)
    if (scores := finished(folder, given)) is not None:
        return scores
    started = time.perf_counter()
    (folder / "cell.json").unlink(missing_ok=True)  # it belongs to other features or annotations
    folder.mkdir(parents=True, exist_ok=True)
    stages = stages or Stages(folder / "run.json", _silent)
    annotations = cell.config.annotations
    assert annotations is not None, "a plan without annotations is refused"
    # Without annotations there is no head to train.
    config = replace(
        cell.config, out=folder, baseline=False, filters=(), annotations=annotations if cell.config.use_head else None
    )
    if cell.config.filter is not None:
        width = max(3, config.sola.receptive_snippets)
        store, _ = filter_store(store, folder / "filtered", cell.config.filter, width=width)
    if cell.config.rotate:
        store = rotated_store(store, folder / "rotated")
    evaluations = run_on_features(config, store, stages, module=module)
    scores = linear_scores(cell, _seen_by_head(config, store))
    for evaluation in evaluations.values():
        scores |= map_scores(evaluation)
    if config.use_sola:
        scores |= _gain_of(module.parent if module is not None else folder / "enhanced")
    write_cell(cell, folder, given, scores, seconds=time.perf_counter() - started)
    if not keep_features:
        _remove_features(folder / "enhanced")
        for made in ("filtered", "rotated"):
            shutil.rmtree(folder / made, ignore_errors=True)
    return scores


def write_cell(cell: Cell, folder: Path, given: str, scores: dict[str, float], *, seconds: float) -> None:
    """Mark a cell as finished; `given` is its identity."""
    record = {
        "given": given,
        "options": {name: str(value) for name, value in cell.options.items()},
        "seed": cell.seed,
        "scores": scores,
        "seconds": round(seconds, 3),
    }
    write_json(folder / "cell.json", record)


def linear_scores(cell: Cell, store: FeatureStore) -> dict[str, float]:
    """Return the scores of the cell's linear evaluation of a store, and of its logistic regression if asked for."""
    annotations = cell.config.annotations
    assert annotations is not None, "a plan without annotations is refused"
    probed = replace(cell.config.linear_probe, filters=())  # filters are cells of their own
    found = probe([store], annotations, probed).stores[0]
    scores = {name: score.mean for name, score in measures(found.scores).items() if score is not None}
    if found.logistic is not None:
        logistic = measures(found.logistic)
        scores |= {f"logistic_{name}": score.mean for name, score in logistic.items() if score is not None}
    return scores | {"majority": found.scores.majority}


@dataclass(frozen=True)
class CellResult:
    """A cell with its scores by name, from 0 to 1, or with the reason of its failure."""

    cell: Cell
    scores: dict[str, float]
    failure: str = ""


def try_cell(
    cell: Cell, store: Path, folder: Path, keep_features: bool, module: Path | None
) -> tuple[CellResult, float]:
    """Return the result of `work_cell`, scores or failure, and the seconds that it took."""
    started = time.perf_counter()
    try:
        scores = work_cell(cell, FeatureStore.open(store), folder, keep_features=keep_features, module=module)
        result = CellResult(cell, scores)
    except (SolaPipelineError, RuntimeError) as error:  # torch's errors are RuntimeErrors
        result = CellResult(cell, {}, str(error))
    return result, time.perf_counter() - started


def share_sola(cells: Sequence[Cell], stores: Mapping[str, Path]) -> list[list[Cell]]:
    """Group cells that can share a fitted module: same settings, seed and store.

    A cell that fits no SoLa before its head is a group of its own. Groups are in the order of their first cells.

    Args:
        cells: all cells.
        stores: the folder of each cell's plain features, by the cell's name.
    """
    groups: dict[str, list[Cell]] = {}
    for cell in cells:
        settings = json.dumps([str(stores[cell.name]), asdict(cell.config.sola)], sort_keys=True)
        groups.setdefault(settings if cell.config.use_sola else cell.name, []).append(cell)
    return list(groups.values())


def module_of(cell: Cell, folder: Path) -> Path | None:
    """Return the file of the SoLa module in a finished cell's folder; None if none was fitted or it was removed."""
    file = folder / "enhanced" / MODULE_FILE
    return file if cell.config.use_sola and file.is_file() else None


def _seen_by_head(config: RunConfig, store: FeatureStore) -> FeatureStore:
    """Return the head's input features: plain, after SoLa, or after the module that was trained with the head."""
    enhanced = config.out / "enhanced"
    if config.use_sola:
        return FeatureStore.open(enhanced)
    if not config.train.trains_module:
        return store
    shutil.rmtree(enhanced, ignore_errors=True)  # it may be of another training
    return enhance_store(store, enhanced, config.sola, module_file=config.out / "model" / MODULE_FILE)[0]


def finished(folder: Path, given: str) -> dict[str, float] | None:
    """Return the scores of a finished cell with the same settings, features and annotations, or None."""
    try:
        value = read_json(folder / "cell.json", what="cell")
        return dict(value["scores"]) if value["given"] == given else None
    except (PipelineError, KeyError, TypeError):
        return None


def identity_of(cell: Cell, store: FeatureStore) -> str:
    """Return a hash of the cell's settings, features and annotations."""
    assert cell.config.annotations is not None
    settings = {k: v for k, v in settings_of_results(cell.config).items() if k not in DATA}
    facts = [settings, store.fingerprint(), sha256_of_annotations(cell.config.annotations)]
    if cell.config.video_scores is not None:
        facts.append(sha256_of_file(cell.config.video_scores))
    return sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()


def map_scores(evaluation: Path) -> dict[str, float]:
    """Return mAP from a file of an evaluation, averaged and at each of its own tIoU thresholds."""
    value: dict[str, Any] = read_json(evaluation, what="evaluation")
    averages = {f"map_{name}": value[name]["average_map"] for name in ("activitynet", "thumos", "own") if name in value}
    own = value.get("own", {"tious": [], "map": []})
    return averages | {f"map_at_{tiou:g}": score for tiou, score in zip(own["tious"], own["map"], strict=True)}


def _gain_of(fitted_in: Path) -> dict[str, float]:
    """Return the gain of the fit in that folder (see `sola.diagnostics.gain`), and those of its features.

    Empty if the folder has no training curve.
    """
    if not (fitted_in / HISTORY_FILE).is_file():
        return {}
    curve = [StepRecord(**record) for record in read_json(fitted_in / HISTORY_FILE, what="history of a fit")]
    share = gain(curve)
    scores = {} if share is None else {"gain": share}
    if (fitted_in / GAUGE_FILE).is_file():
        gauge = read_json(fitted_in / GAUGE_FILE, what="gauge of a fit")
        scores |= {name: gauge[name] for name in ("gain_before", "gain_features") if gauge[name] is not None}
    return scores


def _remove_features(enhanced: Path) -> None:
    """Remove the rows and keep the module, its history and its curve.

    `store.json` goes first, so that the rest does not look like a store without videos.
    """
    (enhanced / "store.json").unlink(missing_ok=True)
    shutil.rmtree(enhanced / "features", ignore_errors=True)


def _silent(text: str) -> None:
    """Print nothing: the cell's run.json holds what its stages report."""

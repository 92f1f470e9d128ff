"""One cell of an ablation: the stages of `run` after extraction, and the linear evaluation, in a folder of its own.

With --no-head there are enhanced features and the linear evaluation only.

CELL/run.json, enhanced/, model/, detections.json, evaluation.json    as `run` leaves them
CELL/cell.json                                                        the scores; written last: the cell is done
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

from pipeline.ablation.plan import Cell
from pipeline.cluster.config import settings_of_results
from pipeline.config import RunConfig
from pipeline.errors import PipelineError, SolaPipelineError
from pipeline.stages.enhance import HISTORY_FILE, enhance_store
from pipeline.stages.linear_probe import measures, probe
from pipeline.stages.run import run_on_features
from pipeline.stages.run_record import Stages
from pipeline.storage.atomic_files import write_json
from pipeline.storage.read_files import read_json, sha256_of_file
from pipeline.store.feature_store import MODULE_FILE, FeatureStore
from sola.diagnostics import gain
from sola.fit import StepRecord


def work_cell(
    cell: Cell, store: FeatureStore, folder: Path, *, keep_features: bool, module: Path | None = None
) -> dict[str, float]:
    """The scores of a cell by name, from 0 to 1; taken from its folder when it is finished there.

    Args:
        cell: its settings.
        store: plain features.
        folder: of the cell; a started one is gone on with.
        keep_features: keep the enhanced features when the cell is finished.
        module: of a cell that shares this one's SoLa, see :func:`share_sola`.

    Raises:
        PipelineError, SolaError: a stage cannot be done.
    """
    given = _identity(cell, store)
    if (scores := finished(folder, given)) is not None:
        return scores
    started = time.perf_counter()
    (folder / "cell.json").unlink(missing_ok=True)  # it is of other features or annotations
    folder.mkdir(parents=True, exist_ok=True)
    annotations = cell.config.annotations
    assert annotations is not None, "a plan without annotations is refused"
    # Without annotations there is no head to train.
    config = replace(cell.config, out=folder, baseline=False, annotations=annotations if cell.config.use_head else None)
    evaluations = run_on_features(config, store, Stages(folder / "run.json", _silent), module=module)
    result = probe([_seen_by_head(config, store)], annotations, cell.config.linear_probe)
    scores = {name: score.mean for name, score in measures(result.stores[0].scores).items() if score is not None}
    scores["majority"] = result.stores[0].scores.majority
    for evaluation in evaluations.values():
        scores |= _map_of(evaluation)
    if config.use_sola:
        scores |= _gain_of(module.parent if module is not None else folder / "enhanced")
    write_json(
        folder / "cell.json",
        {
            "given": given,
            "options": {name: str(value) for name, value in cell.options.items()},
            "seed": cell.seed,
            "scores": scores,
            "seconds": round(time.perf_counter() - started, 3),
        },
    )
    if not keep_features:
        _remove_features(folder / "enhanced")
    return scores


@dataclass(frozen=True)
class CellResult:
    """A cell with its scores by name, from 0 to 1, or with the reason why there are none."""

    cell: Cell
    scores: dict[str, float]
    failure: str = ""


def try_cell(
    cell: Cell, store: Path, folder: Path, keep_features: bool, module: Path | None
) -> tuple[CellResult, float]:
    """The scores of a cell as :func:`work_cell` gives them, or why there are none, and the seconds it took."""
    started = time.perf_counter()
    try:
        scores = work_cell(cell, FeatureStore.open(store), folder, keep_features=keep_features, module=module)
        result = CellResult(cell, scores)
    except (SolaPipelineError, RuntimeError) as error:  # torch's errors are RuntimeErrors
        result = CellResult(cell, {}, str(error))
    return result, time.perf_counter() - started


def share_sola(cells: Sequence[Cell], stores: Mapping[str, Path]) -> list[list[Cell]]:
    """The cells in groups whose SoLa is one: same settings, seed and store, so the first one's module serves all.

    A cell that fits no SoLa before its head is a group of its own. The order is that of each group's first cell.

    Args:
        stores: the folder of the plain features of each cell, by its name.
    """
    groups: dict[str, list[Cell]] = {}
    for cell in cells:
        settings = json.dumps([str(stores[cell.name]), asdict(cell.config.sola)], sort_keys=True)
        groups.setdefault(settings if cell.config.use_sola else cell.name, []).append(cell)
    return list(groups.values())


def module_of(cell: Cell, folder: Path) -> Path | None:
    """The SoLa module in the folder of a finished cell; None where none was fitted or it was removed."""
    file = folder / "enhanced" / MODULE_FILE
    return file if cell.config.use_sola and file.is_file() else None


def _seen_by_head(config: RunConfig, store: FeatureStore) -> FeatureStore:
    """The features that the head works on: plain, after SoLa, or after the module that was trained in front of it."""
    enhanced = config.out / "enhanced"
    if config.use_sola:
        return FeatureStore.open(enhanced)
    if not config.train.trains_module:
        return store
    shutil.rmtree(enhanced, ignore_errors=True)  # of another training
    return enhance_store(store, enhanced, config.sola, module_file=config.out / "model" / MODULE_FILE)[0]


def finished(folder: Path, given: str) -> dict[str, float] | None:
    """The scores of a finished cell with the same settings, features and annotations, or None."""
    try:
        value = read_json(folder / "cell.json", what="cell")
        return dict(value["scores"]) if value["given"] == given else None
    except (PipelineError, KeyError, TypeError):
        return None


def _identity(cell: Cell, store: FeatureStore) -> str:
    assert cell.config.annotations is not None
    settings = {k: v for k, v in settings_of_results(cell.config).items() if k not in ("videos", "annotations", "out")}
    facts = [settings, store.fingerprint(), sha256_of_file(cell.config.annotations)]
    return sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()


def _map_of(evaluation: Path) -> dict[str, float]:
    value: dict[str, Any] = read_json(evaluation, what="evaluation")
    averages = {f"map_{name}": value[name]["average_map"] for name in ("activitynet", "thumos", "own") if name in value}
    own = value.get("own", {"tious": [], "map": []})
    return averages | {f"map_at_{tiou:g}": score for tiou, score in zip(own["tious"], own["map"], strict=True)}


def _gain_of(fitted_in: Path) -> dict[str, float]:
    """What the fit in that folder gained, see :func:`sola.diagnostics.gain`; nothing where its curve is not there."""
    if not (fitted_in / HISTORY_FILE).is_file():
        return {}
    curve = [StepRecord(**record) for record in read_json(fitted_in / HISTORY_FILE, what="history of a fit")]
    share = gain(curve)
    return {} if share is None else {"gain": share}


def _remove_features(enhanced: Path) -> None:
    """Removes the rows and leaves the module, its history and its curve.

    The store's head goes first: what is left does not pass for a store without videos.
    """
    (enhanced / "store.json").unlink(missing_ok=True)
    shutil.rmtree(enhanced / "features", ignore_errors=True)


def _silent(text: str) -> None:
    """What stages say of themselves stands in the cell's run.json."""

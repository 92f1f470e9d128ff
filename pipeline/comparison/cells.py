"""The cell of a row and seed: from the features of its encoder to scores and costs. Its folder lies in OUT/cells/."""

from __future__ import annotations

import time
from copy import deepcopy
from pathlib import Path

from pipeline.ablation.cell import finished, identity_of, linear_scores, map_scores, work_cell, write_cell
from pipeline.ablation.plan import Cell, make_cell
from pipeline.annotations import sha256_of_annotations
from pipeline.annotations.detections import write_detections
from pipeline.cluster.config import settings_of_results
from pipeline.comparison.costs import Cost
from pipeline.comparison.counted_stages import CountedStages
from pipeline.comparison.given import Comparison
from pipeline.comparison.methods import extract_stage
from pipeline.comparison.rows import START, Row
from pipeline.detection.model import load_model
from pipeline.errors import PipelineError
from pipeline.stages.evaluate import evaluate
from pipeline.stages.localize import localize
from pipeline.storage.atomic_files import write_json
from pipeline.storage.read_files import sha256_of_file
from pipeline.store.feature_store import FeatureStore
from pipeline.text.plain import counted
from sola.old_names import stored_settings

# Stages of a cell that belong to training; the others apply what was trained.
_TRAINING = ("sola", "filter", "train")


def cell_of(given: Comparison, row: Row, seed: int) -> Cell:
    """Return the settings of a row's cell.

    Raises:
        PipelineError: an option is not accepted.
    """
    common = {**deepcopy(dict(given.plan.cells)), "store": str(given.features(row, seed))}
    return make_cell(given.plan.file, common, {"variant": row.title}, dict(row.options), given.annotations, seed)


def cell_folder(given: Comparison, cell: Cell) -> Path:
    """Return the folder of a cell."""
    return given.out / "cells" / cell.name


def make_cell_of(given: Comparison, row: Row, seed: int) -> tuple[dict[str, float], bool]:
    """Train a head on a row's features and evaluate it, unless that is done.

    Returns:
        Scores and costs by name, and whether there was something to do.

    Raises:
        PipelineError, SolaError: a stage fails.
    """
    cell = cell_of(given, row, seed)
    folder = cell_folder(given, cell)
    folder.mkdir(parents=True, exist_ok=True)
    stages = CountedStages(folder, lambda line: None)
    store = FeatureStore.open(given.features(row, seed))
    if row.joint:
        scores = _with_joint_head(cell, store, given.folder(row.encoder, seed) / "model", folder, stages)
    else:
        scores = work_cell(cell, store, folder, keep_features=False, stages=stages)
    return scores | _costs(given, row, seed, stages.costs()), stages.worked


def _with_joint_head(
    cell: Cell, store: FeatureStore, model: Path, folder: Path, stages: CountedStages
) -> dict[str, float]:
    """Evaluate the head that was trained with the encoder, on features of that encoder."""
    given = f"{identity_of(cell, store)} {sha256_of_file(model / 'model.json')}"
    if (scores := finished(folder, given)) is not None:
        return scores
    started = time.perf_counter()
    detections, evaluation = folder / "detections.json", folder / "evaluation.json"
    annotations = cell.config.annotations
    assert annotations is not None, "a plan without annotations is refused"

    def do_localize() -> str:
        loaded = load_model(model)
        summary = localize([store.path], loaded, cell.config.localize)
        write_detections(detections, summary.detections, extra={"model": loaded.identity})
        return counted(len(summary.detections), "video")

    def do_evaluate() -> str:
        result = evaluate(detections, annotations, cell.config.evaluate)
        write_json(evaluation, result.as_json())
        return result.text()

    stages.do("localize", [given, settings_of_results(cell.config.localize)], do_localize, result=detections)
    truth = [sha256_of_file(detections), sha256_of_annotations(annotations), stored_settings(cell.config.evaluate)]
    stages.do("evaluate", truth, do_evaluate, result=evaluation)
    scores = linear_scores(cell, store) | map_scores(evaluation)
    write_cell(cell, folder, given, scores, seconds=time.perf_counter() - started)
    return scores


def _costs(given: Comparison, row: Row, seed: int, of_cell: dict[str, Cost]) -> dict[str, float]:
    """Return what a row takes beside the start weights, which all rows share, by name."""
    folder = given.folder(row.encoder, seed)
    of_encoder = CountedStages(folder, lambda line: None).costs()
    extracted = of_encoder.get(extract_stage(row))
    if extracted is None:
        raise PipelineError(f"{folder} has lost its costs; remove it to make it again")
    trained: list[Cost] = [] if row.joint else [c for name, c in of_cell.items() if name.startswith(_TRAINING)]
    if row.encoder != START:
        trained += [cost for name, cost in of_encoder.items() if not name.startswith("extract")]
    applied = [cost for name, cost in of_cell.items() if not name.startswith(_TRAINING)]
    whole = [*trained, extracted, *applied]
    return {
        "parameters": float(sum(cost.parameters for cost in trained)),
        "training_flop": sum(cost.operations for cost in trained),
        "extraction_flop": extracted.operations,
        "memory_megabytes": float(max(cost.gpu_megabytes or cost.memory_megabytes for cost in whole)),
        "seconds": sum(cost.seconds for cost in whole),
    }

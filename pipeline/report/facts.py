"""The facts of a report, read from the folder of a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pipeline.annotations import Annotations, adopt_ids, read_annotations
from pipeline.annotations.detections import read_detections
from pipeline.annotations.segments import Detection
from pipeline.config import EvaluateConfig, ProbeConfig
from pipeline.errors import PipelineError
from pipeline.metrics.protocols import ACTIVITYNET_TIOUS, THUMOS_TIOUS
from pipeline.stages.evaluate import Evaluation, evaluate
from pipeline.stages.linear_probe import ProbeResult, probe
from pipeline.storage.read_files import read_json
from pipeline.store.feature_store import FeatureStore
from pipeline.store.rates import fps_in
from sola.old_names import current_names

WITH, WITHOUT = "with SoLa", "without SoLa"


@dataclass(frozen=True)
class RunFacts:
    """A finished or unfinished run.

    Args:
        folder: of the run.
        settings: of the run, by stage; empty if run.json has none.
        stages: seconds, memory and one line of text of each stage, in the order in which they ran.
        store: the plain features.
        enhanced: the features after SoLa; None without it.
        annotations: the ground truth under the store's ids; None without it.
        detections: of each way ("with SoLa", "without SoLa"), by video id.
        evaluations: of each way.
        linear: the linear evaluation of the stores; None if not requested or impossible.
        failures: the recorded failures of extraction, by video id.
        notes: what is missing from the report, and why.
    """

    folder: Path
    settings: Mapping[str, Any]
    stages: Mapping[str, Mapping[str, Any]]
    store: FeatureStore
    enhanced: FeatureStore | None
    annotations: Annotations | None
    detections: Mapping[str, Mapping[str, list[Detection]]]
    evaluations: Mapping[str, Evaluation]
    linear: ProbeResult | None
    failures: Mapping[str, Mapping[str, Any]]
    notes: tuple[str, ...]


def read_run(folder: Path, *, linear_evaluation: bool = True) -> RunFacts:
    """Read the run in `folder`; evaluations are computed again, with all details.

    Args:
        folder: of the run.
        linear_evaluation: also run the linear evaluation of the features, with and without SoLa: seconds to minutes.

    Raises:
        PipelineError: the folder holds no run, or its annotations are no longer where they were.
    """
    record_file = folder / "run.json"
    if not record_file.is_file():
        raise PipelineError(f"{folder} is not the folder of a run: it has no run.json (make one with `run`)")
    record = read_json(record_file, what="record of the run")
    settings = record.get("settings") or {}
    store = FeatureStore.open(folder / "features")
    enhanced_folder = folder / "enhanced"
    enhanced = FeatureStore.open(enhanced_folder) if (enhanced_folder / "store.json").exists() else None
    annotations_file = _annotations_file(folder, settings)
    annotations = None
    if annotations_file is not None:
        # The stages have checked their inputs already, so the report accepts everything.
        annotations = adopt_ids(
            read_annotations(annotations_file, subsets=(), fps_of=fps_in(store)), [*store.ids(), *store.failed_ids()]
        )
    folders = _detection_folders(folder, has_sola=enhanced is not None)
    detections = {way: read_detections(path / "detections.json") for way, path in folders.items()}
    notes: list[str] = []
    evaluations: dict[str, Evaluation] = {}
    linear = None
    if annotations_file is None:
        notes.append("The run had no annotations: there is nothing to compare its results with.")
    else:
        config = replace(_evaluate_config(settings), diagnose=True)
        evaluations = {
            way: evaluate(path / "detections.json", annotations_file, config) for way, path in folders.items()
        }
        if linear_evaluation:
            linear = _linear(store, enhanced, annotations_file, notes)
    return RunFacts(
        folder=folder,
        settings=settings,
        stages=record.get("stages", {}),
        store=store,
        enhanced=enhanced,
        annotations=annotations,
        detections=detections,
        evaluations=evaluations,
        linear=linear,
        failures={video_id: store.failure(video_id) or {} for video_id in store.failed_ids()},
        notes=tuple(notes),
    )


def _annotations_file(folder: Path, settings: Mapping[str, Any]) -> Path | None:
    recorded = settings.get("annotations")
    if not recorded:
        return None
    file = Path(recorded)
    if not file.exists():
        raise PipelineError(f"the annotations of {folder} are no longer at {file}; put them back, or run `run` again")
    return file


def _detection_folders(folder: Path, *, has_sola: bool) -> dict[str, Path]:
    """Return the folder of detections.json of each way, the one with SoLa first."""
    folders = {WITH if has_sola else WITHOUT: folder}
    if has_sola:
        folders[WITHOUT] = folder / "baseline"
    return {way: path for way, path in folders.items() if (path / "detections.json").is_file()}


def _evaluate_config(settings: Mapping[str, Any]) -> EvaluateConfig:
    values: dict[str, Any] = current_names(EvaluateConfig, settings.get("evaluate") or {})
    given: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in values.items()}
    if given.get("tious") in (ACTIVITYNET_TIOUS, THUMOS_TIOUS):  # these are always shown
        del given["tious"]
    return EvaluateConfig(**given)


def _linear(
    store: FeatureStore, enhanced: FeatureStore | None, annotations_file: Path, notes: list[str]
) -> ProbeResult | None:
    try:
        return probe([store, enhanced] if enhanced else [store], annotations_file, ProbeConfig())
    except (PipelineError, ValueError) as error:
        notes.append(f"There is no linear evaluation: {error}")
        return None

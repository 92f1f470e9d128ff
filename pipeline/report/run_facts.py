"""The facts of a report, read from the folder of a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pipeline.annotations import Annotations, adopt_ids, canonical_subset, read_annotations
from pipeline.annotations.detections import read_detections
from pipeline.config import ProbeConfig
from pipeline.errors import PipelineError
from pipeline.metrics.config import EvaluateConfig
from pipeline.metrics.protocols import ACTIVITYNET_TIOUS, THUMOS_TIOUS
from pipeline.report.curves import read_head_curve, read_sola_curve
from pipeline.report.facts import WITH, WITHOUT, ReportFacts, RunParts, VideoFact, frame_rate_of, local_path
from pipeline.stages.evaluate import Evaluation, evaluate
from pipeline.stages.linear_probe import ProbeResult, probe
from pipeline.stages.run import AS_PUBLISHED
from pipeline.storage.read_files import read_json
from pipeline.store.feature_store import FeatureStore
from pipeline.store.rates import fps_in
from pipeline.store.records import FailureRecord
from sola.old_names import current_names

DETECTIONS_FILE = "detections.json"


def read_run(folder: Path, *, linear_evaluation: bool = True) -> ReportFacts:
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
        read = read_annotations(annotations_file, subsets=(), fps_of=fps_in(store))
        annotations = adopt_ids(read, [*store.ids(), *store.failed_ids()])
    folders = _ways(folder, has_sola=enhanced is not None)
    notes: list[str] = []
    evaluations: dict[str, Evaluation] = {}
    linear = None
    if annotations_file is None:
        notes.append("The run had no annotations: there is nothing to compare its results with.")
    else:
        config = replace(_evaluate_config(settings), diagnose=True)
        for way, path in folders.items():
            evaluations[way] = evaluate(path / DETECTIONS_FILE, annotations_file, config)
        if linear_evaluation:
            linear = _linear(store, enhanced, annotations_file, notes)
    curves = {way: read_head_curve(path / "model") for way, path in folders.items()}
    failures = {video_id: store.failure(video_id) or FailureRecord() for video_id in store.failed_ids()}
    trained = (settings.get("train") or {}).get("train_subset", "training")
    return ReportFacts(
        title=folder.resolve().name,
        videos=_videos(store, failures, annotations, trained),
        annotations=annotations,
        annotations_file=annotations_file,
        detections={way: read_detections(path / DETECTIONS_FILE) for way, path in folders.items()},
        evaluations=evaluations,
        heads={way: curve for way, curve in curves.items() if curve is not None},
        notes=tuple(notes),
        run=RunParts(
            settings=settings,
            stages=record.get("stages", {}),
            store=store,
            enhanced=enhanced,
            linear=linear,
            failures=failures,
            sola=read_sola_curve(store, enhanced) if enhanced is not None else None,
        ),
    )


def _videos(
    store: FeatureStore, failures: Mapping[str, FailureRecord], annotations: Annotations | None, trained: str
) -> list[VideoFact]:
    """Return the videos by id, those of the training subset last."""
    known = annotations.videos if annotations else {}
    facts = []
    for video_id in sorted({*store.ids(), *failures}):
        sidecar, failure = store.sidecar(video_id), failures.get(video_id)
        is_seen = video_id in known and canonical_subset(known[video_id].subset) == canonical_subset(trained)
        words = f"{failure.get('kind')}: {failure.get('reason')}" if failure and sidecar is None else ""
        facts.append(
            VideoFact(
                id=video_id,
                path=local_path(sidecar.get("source", {}).get("path")) if sidecar else None,
                seconds=float(sidecar["duration_seconds"]) if sidecar else None,
                rows=sidecar["shape"][0] if sidecar else 0,
                failure=words,
                seen_in_training=is_seen,
                frame_rate=frame_rate_of(sidecar or {}),
            )
        )
    return sorted(facts, key=lambda fact: fact.seen_in_training)


def _annotations_file(folder: Path, settings: Mapping[str, Any]) -> Path | None:
    recorded = settings.get("annotations")
    if not recorded:
        return None
    file = Path(recorded)
    if not file.exists():
        raise PipelineError(f"the annotations of {folder} are no longer at {file}; put them back, or run `run` again")
    return file


def _ways(folder: Path, *, has_sola: bool) -> dict[str, Path]:
    """Return the folder of detections.json of each way, the one with SoLa first; unknown folders by their names."""
    folders = {WITH if has_sola else WITHOUT: folder}
    if has_sola:
        folders[WITHOUT] = folder / "baseline"
    folders[AS_PUBLISHED] = folder / "published"
    folders |= {f"after {path.name}": path for path in sorted(folder.glob("filters/*"))}
    others = sorted(path.parent for path in folder.glob(f"*/{DETECTIONS_FILE}"))
    folders |= {path.name: path for path in others if path not in folders.values()}
    return {way: path for way, path in folders.items() if (path / DETECTIONS_FILE).is_file()}


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

"""All stages in order, each skipped when its inputs and settings have not changed; one folder of results.

    OUT/features/           feature store                    OUT/model/            trained head
    OUT/enhanced/           enhanced store, SoLa module      OUT/detections.json   OUT/evaluation.json
    OUT/run.json            the inputs and settings of each stage, its time and peak memory

With `--baseline` a head is also trained and evaluated on the plain features: OUT/baseline/. With `--filters` also on
filtered ones: OUT/filters/NAME/. With `--published` also on those of SoLa as published: OUT/published/.
"""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pipeline.annotations import read_annotations, sha256_of_annotations
from pipeline.annotations.detections import write_detections
from pipeline.cluster.config import settings_of_results
from pipeline.config import RunConfig
from pipeline.detection.model import load_model
from pipeline.detection.video_scores import read_video_scores
from pipeline.errors import PipelineError
from pipeline.progress import progress
from pipeline.showing.listing import PROPOSED_SCORE
from pipeline.stages.enhance import enhance_store
from pipeline.stages.evaluate import evaluate
from pipeline.stages.extract import ExtractSummary, extract
from pipeline.stages.filter_store import filter_store
from pipeline.stages.localize import localize
from pipeline.stages.run_record import Say, Stages
from pipeline.stages.train import train
from pipeline.storage.atomic_files import write_json
from pipeline.storage.read_files import sha256_of_file
from pipeline.store.feature_store import FeatureStore
from pipeline.text.plain import counted
from sola.config import FilterName, SolaConfig, preset
from sola.old_names import stored_settings

AS_PUBLISHED = "with SoLa as published"
# In place of a rate that only the video tells: no time in frames is then beyond its video.
_HIGHEST_FPS = 1e6


@dataclass(frozen=True)
class RunResult:
    """The folder of the results, the videos that failed in extraction (id → reason), and evaluation files by title."""

    out: Path
    failed: dict[str, str]
    evaluations: dict[str, Path]


def run(config: RunConfig, *, say: Say) -> RunResult:
    """Run the stages that `config` selects; `say` gets a line about each.

    Raises:
        PipelineError, EncoderError, SolaError: a stage cannot be done; the results of earlier stages are kept.
    """
    config.out.mkdir(parents=True, exist_ok=True)
    if config.annotations is not None:
        _refuse_faults(config, config.annotations)  # before hours of work
    stages = Stages(config.out / "run.json", say)
    stages.describe(_whole_paths(config))
    store, summary = _extract(config, stages)
    evaluations = run_on_features(config, store, stages)
    if config.annotations is None:
        say("no annotations: the features are ready, no head is trained")
    return RunResult(config.out, summary.failed, evaluations)


def _refuse_faults(config: RunConfig, annotations: Path) -> None:
    """Refuse ground truth that `train` or `evaluate` would refuse, as far as the file tells without the videos."""
    for subsets, tolerance in (
        ((config.train.train_subset, config.train.validation_subset), config.train.tolerance_seconds),
        (None if config.evaluate.subset == "all" else (config.evaluate.subset,), config.evaluate.tolerance_seconds),
    ):
        read_annotations(annotations, tolerance_seconds=tolerance, subsets=subsets, fps_of=lambda _: _HIGHEST_FPS)


def _whole_paths(config: RunConfig) -> dict[str, Any]:
    """Return the settings, with absolute paths."""
    annotations = config.annotations.resolve() if config.annotations else None
    return {
        **stored_settings(config),
        "videos": [path.resolve() for path in config.videos],
        "out": config.out.resolve(),
        "annotations": annotations,
    }


def run_on_features(
    config: RunConfig, store: FeatureStore, stages: Stages, *, module: Path | None = None
) -> dict[str, Path]:
    """Run the stages after extraction on a store; return the evaluation files by title.

    Args:
        config: the folder of the results and the settings; its videos are not used.
        store: plain features.
        stages: the record of `config.out`.
        module: a SoLa module fitted on this store with these settings, to use in place of a new fit.

    Raises:
        PipelineError, SolaError: as `run`.
    """
    evaluations: dict[str, Path | None] = {}
    if config.baseline or not config.use_sola:
        folder = config.out / "baseline" if config.use_sola else config.out
        evaluations["without SoLa"] = _locate(config, store, folder, "without SoLa", stages)
    for name in config.filters:
        folder = config.out / "filters" / name
        filtered = _filter(config, name, store, folder / "features", stages)
        evaluations[f"after {name}"] = _locate(config, filtered, folder, f"after {name}", stages)
    if config.published:
        folder = config.out / "published"
        settings = replace(preset("hacs"), device=config.sola.device, seed=config.sola.seed)
        enhanced = _enhance("sola as published", settings, store, folder / "enhanced", stages)
        evaluations[AS_PUBLISHED] = _locate(config, enhanced, folder, AS_PUBLISHED, stages)
    if config.use_sola:
        enhanced = _enhance("sola", config.sola, store, config.out / "enhanced", stages, module)
        evaluations["with SoLa"] = _locate(config, enhanced, config.out, "with SoLa", stages)
    return {title: file for title, file in evaluations.items() if file}


def _extract(config: RunConfig, stages: Stages) -> tuple[FeatureStore, ExtractSummary]:
    """Extract features. This stage always runs: it skips videos that are done, and finds new and changed ones."""
    started = time.perf_counter()
    with progress("extract", total=1) as report:
        store, summary = extract(config.videos, config.out / "features", config.extract, report=report)
    stages.finish("extract", summary.text(), seconds=time.perf_counter() - started)
    for line in (*summary.notes, *summary.odd_lines()):
        stages.say(f"  note: {line}")
    for video_id, reason in summary.failed.items():
        stages.say(f"  failed: {video_id}: {reason}")
    if not store.ids():
        raise PipelineError(f"no video could be extracted, {len(summary.failed)} failed")
    return store, summary


def _enhance(
    stage: str, settings: SolaConfig, store: FeatureStore, out: Path, stages: Stages, module: Path | None = None
) -> FeatureStore:
    def note(line: str) -> None:
        if stage == "sola":  # advice on settings as published is of no use
            stages.say(f"  note: {line}")

    def work() -> str:
        with progress(stage, total=1) as report:
            _, summary = enhance_store(store, out, settings, module_file=module, report=report, on_note=note)
        return "; ".join(filter(None, [summary.text(), summary.verdict()]))

    given = [store.fingerprint(), stored_settings(settings), *([sha256_of_file(module)] if module else [])]
    stages.do(stage, given, work, result=out / "store.json", clear=lambda: shutil.rmtree(out, ignore_errors=True))
    return FeatureStore.open(out)


def _filter(config: RunConfig, name: FilterName, store: FeatureStore, out: Path, stages: Stages) -> FeatureStore:
    width = max(3, config.sola.receptive_snippets)

    def note(line: str) -> None:
        stages.say(f"  note: {line}")

    stages.do(
        f"filter {name}",
        [store.fingerprint(), width if name == "linear" else None],
        lambda: filter_store(store, out, name, width=width, on_note=note)[1],
        result=out / "store.json",
        clear=lambda: shutil.rmtree(out, ignore_errors=True),
    )
    return FeatureStore.open(out)


def _locate(config: RunConfig, store: FeatureStore, out: Path, title: str, stages: Stages) -> Path | None:
    """Train on `store`, locate actions in its videos and evaluate; return the file of the evaluation."""
    if config.annotations is None:
        return None
    annotations_file = config.annotations
    model, detections, evaluation = out / "model", out / "detections.json", out / "evaluation.json"
    truth = sha256_of_annotations(annotations_file)

    def do_train() -> str:
        with progress(f"train {title}", total=1) as report:
            summary = train(store, annotations_file, model, config.train, report=report)
        for line in summary.notes:
            stages.say(f"  note: {line}")
        return summary.text()

    def do_localize() -> str:
        loaded = load_model(model)
        scores = read_video_scores(config.video_scores) if config.video_scores else None
        with progress(f"localize {title}", total=1) as report:
            summary = localize([store.path], loaded, config.localize, video_scores=scores, report=report)
        proposed = {} if loaded.best_score is None else {PROPOSED_SCORE: loaded.best_score.score}
        write_detections(detections, summary.detections, extra={"model": loaded.identity, **proposed})
        found = counted(sum(map(len, summary.detections.values())), "detection")
        return f"{found} in {counted(len(summary.detections), 'video')}"

    def do_evaluate() -> str:
        result = evaluate(detections, annotations_file, config.evaluate)
        write_json(evaluation, result.as_json())
        return result.text()

    suffix = f" {title}"
    stages.do(
        "train" + suffix,
        [store.fingerprint(), truth, stored_settings(config.train)],
        do_train,
        result=model / "model.json",
    )
    trained = sha256_of_file(model / "model.json")
    named = [sha256_of_file(config.video_scores)] if config.video_scores else []
    given = [trained, store.fingerprint(), settings_of_results(config.localize), *named]
    stages.do("localize" + suffix, given, do_localize, result=detections)
    blocked = config.evaluate.blocked_videos
    given = [
        sha256_of_file(detections),
        truth,
        stored_settings(config.evaluate),
        *([sha256_of_file(blocked)] if blocked else []),
    ]
    stages.do("evaluate" + suffix, given, do_evaluate, result=evaluation)
    return evaluation

"""The encoders of a comparison: the start weights, those of each method, and the features of each row."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

from pipeline.annotations import sha256_of_annotations
from pipeline.comparison.costs import snippet_operations
from pipeline.comparison.counted_stages import CountedStages
from pipeline.comparison.end_to_end import make_end_to_end
from pipeline.comparison.given import Comparison, content_of, files_in, spec_of
from pipeline.comparison.rows import END_TO_END, LONGER, START, Row
from pipeline.errors import PipelineError
from pipeline.pretraining.classify import plan_classify
from pipeline.pretraining.config import PretrainConfig
from pipeline.pretraining.task import Request
from pipeline.progress import progress
from pipeline.stages.extract import extract
from pipeline.stages.pretrain import pretrain, remove_frames, start_of
from pipeline.store.feature_store import FeatureStore
from sola.old_names import stored_settings

_LABELED = ("tac", "tsp")  # learn from untrimmed videos and their annotations
_UNLABELED = ("pal",)


def train_encoder(given: Comparison, encoder: str, seed: int) -> list[str]:
    """Train an encoder, unless that is done or its weights are given; return lines about it.

    Raises:
        PipelineError, EncoderError: it cannot be trained.
    """
    lines, stages = _stages(given, encoder, seed)
    if encoder == END_TO_END:
        make_end_to_end(given, seed, stages)
    elif encoder != START:
        _pretrain(given, encoder, _task_settings(given, encoder, seed), stages)
    elif given.plan.start is not None:
        _pretrain(given, START, given.plan.start, stages)
    return _told(lines, stages)


def extract_features(given: Comparison, row: Row, seed: int) -> list[str]:
    """Extract a row's features of all videos with its trained encoder, unless that is done; return lines about it.

    Raises:
        PipelineError, EncoderError: they cannot be extracted.
    """
    lines, stages = _stages(given, row.encoder, seed)
    out, weights = given.features(row, seed), given.weights(row.encoder, seed)
    used: dict[str, Any] = {"weights": weights}
    if row.beside_start:
        used = {"weights": given.weights(START, seed), "also_weights": weights}
    config = replace(given.plan.extract, **used)

    def work() -> str:
        with progress(f"extract {row.title}", total=1) as report:
            store, summary = extract([given.videos], out, config, report=report)
        if not store.ids():
            raise PipelineError(f"no video in {given.videos} could be extracted")
        return "; ".join([summary.text(), *(f"{video}: {reason}" for video, reason in summary.failed.items())])

    def clear() -> None:
        shutil.rmtree(out, ignore_errors=True)

    stage = extract_stage(row)
    contents = {name: content_of(value) for name, value in used.items()}
    facts = [{**stored_settings(config), **contents}, files_in(given.videos)]
    stages.do(stage, facts, work, result=out / "store.json", clear=clear)
    if stages.worked:
        store = FeatureStore.open(out)
        rows = sum(store.require_sidecar(video_id)["shape"][0] for video_id in store.ids())
        once = snippet_operations(config.encoder, weights, pool=config.pool)
        stages.count(stage, len(used) * rows * once)
    return _told(lines, stages)


def extract_stage(row: Row) -> str:
    """Return the name of the stage that extracts a row's features."""
    return "extract beside" if row.beside_start else "extract"


def _stages(given: Comparison, encoder: str, seed: int) -> tuple[list[str], CountedStages]:
    lines: list[str] = []
    folder = given.folder(encoder, seed)
    folder.mkdir(parents=True, exist_ok=True)
    return lines, CountedStages(folder, lines.append)


def _told(lines: list[str], stages: CountedStages) -> list[str]:
    """Return the lines about what was done now."""
    return lines if stages.worked else []


def _pretrain(given: Comparison, encoder: str, config: PretrainConfig, stages: CountedStages) -> None:
    source, annotations = _source(given, encoder)
    out = Path(given.weights(encoder, config.seed))

    def work() -> str:
        with progress(f"{encoder}, seed {config.seed}", total=1) as report:
            summary = pretrain(source, out, config, annotations=annotations, report=stages.kept(report))
        remove_frames(out)
        return summary.text()

    def clear() -> None:
        for suffix in (".safetensors", ".json", ".checkpoint"):
            out.with_suffix(suffix).unlink(missing_ok=True)

    settings = {**stored_settings(config), "weights": content_of(config.weights)}
    truth = None if annotations is None else sha256_of_annotations(annotations)
    facts = [settings, files_in(source), truth]
    stages.do("pretrain", facts, work, result=out, clear=clear)


def _source(given: Comparison, encoder: str) -> tuple[Path, Path | None]:
    """Return the clips or videos that an encoder learns from, and the annotations that it sees."""
    if encoder in _UNLABELED:
        return given.videos, None
    if given.clips is None or encoder in _LABELED:
        return given.videos, given.annotations
    if encoder == START and given.plan.clips is not None:
        return given.plan.clips, None  # its held-out groups are those of the validation videos
    return given.clips, None


def _task_settings(given: Comparison, encoder: str, seed: int) -> PretrainConfig:
    """Return the settings of a method: those of the file, with the start weights at their resolution."""
    weights = given.weights(START, seed)
    spec = spec_of(weights)
    size = spec.crop_size if spec is not None else 0
    config = replace(given.plan.tasks[encoder], weights=weights, size=size, seed=seed)
    return config if encoder != LONGER else replace(config, epochs=_equal_epochs(given, config))


def _equal_epochs(given: Comparison, config: PretrainConfig) -> int:
    """Return the epochs of plain pretraining that take the operations of another method's training."""
    other = given.plan.equal_to
    costs = CountedStages(given.folder(other, config.seed), lambda line: None).costs()
    cost = costs.get("train end to end" if other == END_TO_END else "pretrain")
    if cost is None:
        raise PipelineError(f"longer pretraining takes as many operations as {other}, which is not finished")
    source, annotations = _source(given, LONGER)
    clips = plan_classify(Request(source, annotations, start_of(config).spec, config))
    once = snippet_operations(config.encoder, config.weights, pool=config.pool)
    # A step is a forward and a backward pass, which is twice a forward pass; held-out clips are tested each epoch.
    an_epoch = (3 * len(clips.training) + config.test_windows * len(clips.held_out)) * once
    return max(1, round(cost.operations / an_epoch))

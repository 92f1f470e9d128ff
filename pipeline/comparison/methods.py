"""The encoders of a comparison: the start weights, those of each method, and the features of each.

OUT/start/                         encoder.safetensors (if they are trained here), features/
OUT/encoders/<method>/seed<n>/     encoder.safetensors or model/, features/, run.json, costs.json
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from encoders.catalog import catalog_entry
from encoders.spec import EncoderSpec
from encoders.trained import carried_spec
from pipeline.ablation.plan import settings_from
from pipeline.annotations import sha256_of_annotations
from pipeline.comparison.costs import CountedStages, operations_of_store, snippet_operations
from pipeline.comparison.plan import Plan
from pipeline.comparison.rows import END_TO_END, LONGER, START
from pipeline.config import CellConfig
from pipeline.errors import PipelineError
from pipeline.heads.config import TrainConfig
from pipeline.pretraining.classify import plan_classify
from pipeline.pretraining.config import PretrainConfig
from pipeline.pretraining.task import Request
from pipeline.progress import progress
from pipeline.stages.extract import extract
from pipeline.stages.pretrain import pretrain, remove_frames, training_spec
from pipeline.storage.read_files import sha256_of_file
from pipeline.store.feature_store import FeatureStore
from pipeline.video.find import find_videos
from sola.old_names import stored_settings

WEIGHTS = "encoder.safetensors"
_LABELED = ("tac", "tsp")  # learn from untrimmed videos and their annotations
_UNLABELED = ("pal",)


@dataclass(frozen=True)
class Comparison:
    """A plan with its data.

    Args:
        plan: what to compare.
        out: the folder of results.
        videos, annotations: given or stitched.
        clips: trimmed clips to learn from, without those that validation videos are stitched of; None without clips.
    """

    plan: Plan
    out: Path
    videos: Path
    annotations: Path
    clips: Path | None

    def folder(self, encoder: str, seed: int) -> Path:
        """Return the folder of an encoder; the start weights have no seed."""
        return self.out / START if encoder == START else self.out / "encoders" / encoder / f"seed{seed}"

    def weights(self, encoder: str, seed: int) -> str:
        """Return the file or the name of an encoder's weights."""
        if encoder == START and self.plan.start is None:
            return self.plan.extract.weights
        folder = self.folder(encoder, seed)
        return str((folder / "model" if encoder == END_TO_END else folder) / WEIGHTS)


def train_encoder(given: Comparison, encoder: str, seed: int) -> list[str]:
    """Train an encoder, unless that is done or its weights are given; return lines about it.

    Raises:
        PipelineError, EncoderError: it cannot be trained.
    """
    lines, stages = _stages(given, encoder, seed)
    if encoder == END_TO_END:
        _train_end_to_end(given, seed, stages)
    elif encoder != START:
        _pretrain(given, encoder, _task_settings(given, encoder, seed), stages)
    elif given.plan.start is not None:
        _pretrain(given, START, given.plan.start, stages)
    return lines


def extract_features(given: Comparison, encoder: str, seed: int) -> list[str]:
    """Extract the features of all videos with a trained encoder, unless that is done; return lines about it.

    Raises:
        PipelineError, EncoderError: they cannot be extracted.
    """
    lines, stages = _stages(given, encoder, seed)
    _extract(given, encoder, seed, stages)
    return lines


def _stages(given: Comparison, encoder: str, seed: int) -> tuple[list[str], CountedStages]:
    lines: list[str] = []
    folder = given.folder(encoder, seed)
    folder.mkdir(parents=True, exist_ok=True)
    return lines, CountedStages(folder, lines.append)


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

    facts = [{**stored_settings(config), "weights": _content(config.weights)}, _files(source), _truth(annotations)]
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
    spec = _carried_spec(weights)
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
    spec = training_spec(config)
    training, held_out = plan_classify(Request(source, annotations, spec, config)).counts
    # A step is a forward and a backward pass, which is twice a forward pass; held-out clips are tested each epoch.
    an_epoch = (3 * training + config.test_windows * held_out) * snippet_operations(spec)
    return max(1, round(cost.operations / an_epoch))


def _train_end_to_end(given: Comparison, seed: int, stages: CountedStages) -> None:
    from pipeline.stages.end_to_end_data import Request as EndToEndRequest
    from pipeline.stages.train_end_to_end import train_end_to_end
    from pipeline.training.end_to_end_config import EndToEndConfig

    plan, out = given.plan, given.folder(END_TO_END, seed) / "model"
    values = dict(plan.end_to_end)
    own = values.pop("train", {})
    weights = given.weights(START, seed)
    of_snippets = {
        name: value
        for name in ("fps", "window_frames", "stride_frames", "stride_seconds")
        if (value := getattr(plan.extract, name)) is not None
    }
    values = {**values, **of_snippets, "encoder": plan.extract.encoder, "weights": weights}
    settings = settings_from(values, EndToEndConfig, plan.file)
    config = replace(_train_config(plan, own), seed=seed)

    def work() -> str:
        with progress(f"end to end, seed {seed}", total=1) as report:
            request = EndToEndRequest([given.videos], given.annotations, out, config, settings)
            return train_end_to_end(request, report=stages.kept(report)).text()

    def clear() -> None:
        shutil.rmtree(out, ignore_errors=True)

    encoder = {**stored_settings(settings), "weights": _content(weights)}
    facts = [encoder, stored_settings(config), _files(given.videos), _truth(given.annotations)]
    stages.do("train end to end", facts, work, result=out / "model.json", clear=clear)


def _train_config(plan: Plan, own: dict[str, Any]) -> TrainConfig:
    """Return the settings of the head, with what is different when it learns with the encoder."""
    train = {**plan.cells.get("train", {}), **own}
    values = {"train": train, "videos": ["-"], "annotations": "-", "out": "-", "use_sola": False}
    return settings_from(values, CellConfig, plan.file).train


def _extract(given: Comparison, encoder: str, seed: int, stages: CountedStages) -> None:
    weights = given.weights(encoder, seed)
    out = given.folder(encoder, seed) / "features"
    config = replace(given.plan.extract, weights=weights)

    def work() -> str:
        with progress(f"extract {encoder}", total=1) as report:
            store, summary = extract([given.videos], out, config, report=report)
        if not store.ids():
            raise PipelineError(f"no video in {given.videos} could be extracted")
        return "; ".join([summary.text(), *(f"{video}: {reason}" for video, reason in summary.failed.items())])

    def clear() -> None:
        shutil.rmtree(out, ignore_errors=True)

    facts = [{**stored_settings(config), "weights": _content(weights)}, _files(given.videos)]
    stages.do("extract", facts, work, result=out / "store.json", clear=clear)
    spec = _carried_spec(weights) or catalog_entry(config.encoder).spec
    stages.count("extract", operations_of_store(FeatureStore.open(out), spec))


def _carried_spec(weights: str) -> EncoderSpec | None:
    return carried_spec(Path(weights)) if Path(weights).is_file() else None


def _content(weights: str) -> str:
    """Return a hash of a weights file; of published weights, their name."""
    return sha256_of_file(Path(weights)) if Path(weights).is_file() else weights


def _truth(annotations: Path | None) -> str | None:
    return None if annotations is None else sha256_of_annotations(annotations)


def _files(source: Path) -> list[tuple[str, int]]:
    """Return name and size of each file, to see changes."""
    if source.suffix == ".csv":
        return [(source.read_text(encoding="utf-8"), 0)]
    return [(str(video.path), Path(str(video.path)).stat().st_size) for video in find_videos([source], ids="path")]

"""Stage: feature store + annotations → MODEL, a folder with a trained localization head."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.annotations import Annotations, canonical_subset, sha256_of_annotations
from pipeline.annotations.segments import PROPOSAL_LABEL
from pipeline.detection.model import TrainedHead, load_model, save_model
from pipeline.errors import PipelineError
from pipeline.heads.config import TrainConfig
from pipeline.metrics.best_score import TIOU, BestScore
from pipeline.progress import Report, silent
from pipeline.stages.ground_truth import annotations_for
from pipeline.stages.train_checkpoint import CHECKPOINT_FILE, Checkpoint
from pipeline.stages.training_data import learned_labels, training_data
from pipeline.storage.temporary_names import remove_abandoned
from pipeline.store.feature_store import FeatureStore
from pipeline.store.spec import StoreSpec, plan_from_json
from pipeline.text.plain import counted
from pipeline.training.batches import TrainItem
from pipeline.training.train_head import EpochReport, FitResult, TrainingData, fit_head
from pipeline.training.validation import calibrate
from sola.errors import SolaError
from sola.old_names import stored_settings


@dataclass
class TrainSummary:
    """The result of training.

    Args:
        training_videos, validation_videos: numbers of videos.
        labels: the classes that occur in training.
        best_epoch: the epoch that was kept.
        best_map: its validation mAP, 0 to 1; None without validation.
        best_score: the score of best F1 on the validation videos; None without validation, or if nothing was found.
        notes: for the user, on the data.
        finished_before: whether an earlier run had finished the training.
    """

    training_videos: int = 0
    validation_videos: int = 0
    labels: tuple[str, ...] = ()
    best_epoch: int = 0
    best_map: float | None = None
    best_score: BestScore | None = None
    notes: list[str] = field(default_factory=list)
    finished_before: bool = False

    def text(self) -> str:
        """Return one line: the data and the best epoch."""
        score = "not validated" if self.best_map is None else f"validation mAP {100 * self.best_map:.1f}%"
        data = f"{self.training_videos} training and {counted(self.validation_videos, 'validation video')}"
        text = f"{data}, {counted(len(self.labels), 'class')}; kept epoch {self.best_epoch}, {score}"
        if (best := self.best_score) is not None:
            text += (
                f"; best F1 at tIoU {TIOU}: {100 * best.f1:.1f}%, for scores of {best.score:.3g} or more (precision "
                f"{100 * best.precision:.1f}%, recall {100 * best.recall:.1f}%)"
            )
        return f"trained before, unchanged (remove the folder to train again): {text}" if self.finished_before else text


def train(
    store: FeatureStore, annotations_file: Path, out: Path, config: TrainConfig, *, report: Report = silent
) -> TrainSummary:
    """Train a head on the store's training videos and write the MODEL folder `out`.

    Keep the epoch that is best on the validation videos. After an interruption the same command continues after the
    last finished epoch. After the end it does nothing, as long as features, annotations and settings are the same.

    Args:
        store: plain or enhanced features; plain ones if `config.sola` trains its own module.
        annotations_file: ground truth; two of its subsets are used, see `config.train_subset`.
        report: gets the share of epochs done, 0 to 1.

    Raises:
        PipelineError: no training video has features, the annotations are wrong, the store has faults, or the store is
            already enhanced while `config.sola` trains a module.
    """
    if config.trains_module and store.spec.sola is not None:
        raise PipelineError(
            f"{store.path} is already enhanced, and sola={config.sola} trains a module of its own: give the store "
            "that `extract` wrote (with `run`: --no-use-sola)"
        )
    identity = _identity(store, annotations_file, config)
    checkpoint = Checkpoint(out / CHECKPOINT_FILE, identity)
    remove_abandoned(out)
    if (before := finished_before(out, identity)) is not None:
        checkpoint.remove()
        return before
    annotations, notes = annotations_for(
        store,
        annotations_file,
        subsets=(config.train_subset, config.validation_subset),
        tolerance_seconds=config.tolerance_seconds,
    )
    train_items, val_items = training_data(
        lambda subset: _items(store, annotations, subset),
        annotations,
        config,
        source=str(store.path),
        where=str(annotations_file),
        notes=notes,
    )
    labels = learned_labels(annotations, train_items, val_items, notes=notes)
    out.mkdir(parents=True, exist_ok=True)
    data = TrainingData(train_items, val_items, labels, store.spec.stream_channels)
    result = fit_head(data, config, on_epoch=_each_epoch(checkpoint, report), resume=checkpoint.load())
    best = None
    if val_items:
        best = calibrate(result.head, val_items, labels=result.labels, config=config, module=result.module)
    summary = TrainSummary(len(train_items), len(val_items), labels, result.best_epoch, result.best_map, best, notes)
    if result.module is not None:
        notes.append(f"the gate of the trained SoLa module is {result.module.gate().item():.4f}")
    about = {
        "annotations_sha256": sha256_of_annotations(annotations_file),
        "identity": identity,
        "training_ids": [item.video_id for item in train_items],
    }
    save_training(out, store, config, result, summary, about)
    checkpoint.remove()
    return summary


def save_training(
    out: Path,
    store: FeatureStore | StoreSpec,
    config: TrainConfig,
    result: FitResult,
    summary: TrainSummary,
    about: Mapping[str, Any],
) -> None:
    """Write the MODEL folder.

    Args:
        store: the features, or the spec of those of an encoder that was trained with the head.
        about: goes into the record of the training; `more` has further entries.
    """
    training = {
        "settings": stored_settings(config),
        "annotations_sha256": about["annotations_sha256"],
        "training_videos": summary.training_videos,
        "validation_videos": summary.validation_videos,
        "best_epoch": result.best_epoch,
        "best_validation_map": result.best_map,
        "losses": result.losses,
        "validation_maps": [list(pair) for pair in result.validation_maps],
        "training_ids": about["training_ids"],
        "learned_labels": list(summary.labels),
        "identity": about["identity"],
        **about.get("more", {}),
    }
    labels = (PROPOSAL_LABEL,) if config.class_agnostic else summary.labels
    module = None
    if result.module is not None and result.module_config is not None:
        module = result.module, result.module_config
    trained = TrainedHead(
        head=result.head, labels=labels, post=config.post, module=module, best_score=summary.best_score
    )
    save_model(out, trained, store, training=training)


def _items(store: FeatureStore, annotations: Annotations, subset: str) -> list[TrainItem]:
    if canonical_subset(subset) not in {canonical_subset(name) for name in annotations.subsets()}:
        return []
    done = set(store.ids())
    items = []
    for video_id, video in annotations.in_subset(subset).videos.items():
        if video_id not in done:
            continue
        sidecar = store.require_sidecar(video_id)
        if sidecar["shape"][0] == 0:
            continue
        plan = plan_from_json(sidecar["rows"])
        items.append(
            TrainItem(
                video_id=video_id,
                features=_reader(store, video_id),
                segments=video.segments,
                stride_seconds=float(plan.stride_seconds),
                window_seconds=float(plan.window_seconds),
                duration_seconds=float(sidecar["duration_seconds"]),
            )
        )
    return items


def _reader(store: FeatureStore, video_id: str) -> Callable[[], np.ndarray]:
    if store.is_remote:  # the cache may remove the local copy
        return lambda: np.array(store.read(video_id).features)
    features = store.read(video_id).features
    return lambda: np.array(features)  # memory maps are read-only, tensors are not


def finished_before(out: Path, identity: str) -> TrainSummary | None:
    """Return the result that left the model in `out`, if it is whole and of this identity."""
    if not (out / "model.json").is_file():
        return None
    try:
        model = load_model(out)
    except (PipelineError, SolaError):
        return None
    training = model.training
    if not isinstance(training, Mapping) or training.get("identity") != identity:
        return None
    return TrainSummary(
        training_videos=training["training_videos"],
        validation_videos=training["validation_videos"],
        labels=tuple(training["learned_labels"]),
        best_epoch=training["best_epoch"],
        best_map=training["best_validation_map"],
        best_score=model.best_score,
        finished_before=True,
    )


def _identity(store: FeatureStore, annotations_file: Path, config: TrainConfig) -> str:
    facts = [store.fingerprint(), sha256_of_annotations(annotations_file), stored_settings(config)]
    return sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _each_epoch(checkpoint: Checkpoint, report: Report) -> Callable[[EpochReport], None]:
    best: list[float] = []

    def on_epoch(epoch: EpochReport) -> None:
        checkpoint.save(epoch.state())
        if epoch.validation is not None and epoch.is_best:
            best[:] = [epoch.validation.average]
        loss = sum(epoch.losses.values())
        score = f", best validation mAP {100 * best[0]:.1f}%" if best else ""
        report(epoch.epoch / epoch.epochs, f"epoch {epoch.epoch}/{epoch.epochs}, loss {loss:.3f}{score}")

    return on_epoch

"""Stage: trimmed clips → weights of a snippet encoder, trained to classify the clips.

Every frozen encoder is pretrained on this task. WEIGHTS includes its spec: give it to `extract --weights`. Beside it
lie WEIGHTS.json (accuracy, history), WEIGHTS.frames/ (small frames of the clips; no longer needed afterwards) and,
until training is finished, WEIGHTS.checkpoint.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from hashlib import sha256
from pathlib import Path

from encoders.catalog import catalog_entry
from encoders.spec import EncoderSpec
from encoders.trained import save_trained
from pipeline.errors import PipelineError
from pipeline.pretraining.annotated_segments import segment_clips
from pipeline.pretraining.clips import Clip, find_clips, split_by_group
from pipeline.pretraining.config import PretrainConfig
from pipeline.pretraining.data import CachedClip, cache_clips
from pipeline.progress import Report, silent
from pipeline.stages.encoder_trainer import EncoderTrainer
from pipeline.storage.atomic_files import whole_file, write_json
from pipeline.storage.read_files import read_json, sha256_of_file
from pipeline.text.plain import counted
from sola.old_names import stored_settings

_CACHING = 0.2  # share of the progress for filling the cache


@dataclass
class PretrainSummary:
    """The result of the training.

    Args:
        accuracy: on the held-out groups, 0 to 1.
        per_class: the same for each class.
        clips: number of training clips, and of held-out clips.
        failed: path → reason of the clips that could not be read.
        history: for each epoch the mean training loss, and the accuracy on the held-out groups.
        seconds: of training, without filling the cache.
        finished_before: whether an earlier run had made the weights.
    """

    accuracy: float
    per_class: dict[str, float]
    clips: tuple[int, int]
    failed: dict[str, str]
    history: list[dict[str, float]] = field(default_factory=list)
    seconds: float = 0.0
    finished_before: bool = False

    def text(self) -> str:
        """Return one line: accuracy, clips, time."""
        classes = ", ".join(f"{name} {100 * value:.0f}%" for name, value in self.per_class.items())
        before = "trained before, unchanged (remove the file to train again): " if self.finished_before else ""
        return (
            f"{before}accuracy on {counted(self.clips[1], 'clip')} of held-out groups {100 * self.accuracy:.1f}% "
            f"({classes}); trained on {counted(self.clips[0], 'clip')} in {self.seconds:.0f} s"
        )


def pretrain(
    source: Path, out: Path, config: PretrainConfig, *, annotations: Path | None = None, report: Report = silent
) -> PretrainSummary:
    """Train the encoder that `config` names on the clips in `source`, and write its weights to `out`.

    After an interruption the same command continues after the last whole epoch and ends with the same weights. After
    the end it does nothing, as long as clips and settings are the same.

    Args:
        source: class folders of trimmed clips, or a CSV file; see `pipeline.pretraining.clips.find_clips`. With
            `annotations`: untrimmed videos, as for `extract`.
        out: a .safetensors file.
        annotations: of the videos; their segments are the clips, see
            `pipeline.pretraining.annotated_segments.segment_clips`.
        report: gets the share that is done, 0 to 1.

    Raises:
        PipelineError, EncoderError: there are too few clips, the network is unknown, or the weights do not fit.
    """
    if out.suffix != ".safetensors":
        raise PipelineError(f"--out must be a .safetensors file, got {out}")
    spec = training_spec(config)
    split = _split(source, annotations, spec, config)
    clips = sorted((*split[0], *split[1]), key=lambda clip: (str(clip.path), clip.span or ()))
    labels = sorted({clip.label for clip in split[0]})
    identity = _identity(clips, config)
    if (before := _finished_before(out, identity, clips)) is not None:
        out.with_suffix(".checkpoint").unlink(missing_ok=True)
        return before
    folder, counted = out.with_suffix(".frames"), 0

    def cached(number: int) -> None:
        report(_CACHING * (counted + number) / len(clips), f"small frames of {counted + number}/{len(clips)} clips")

    training, failed = cache_clips(split[0], labels, spec, folder, cached)
    counted = len(split[0])
    validation, more = cache_clips(split[1], labels, spec, folder, cached)
    failed |= more
    if not training or not validation:
        raise PipelineError(f"no clip in {source} can be used, the first: {next(iter(failed.values()))}")
    trainer = EncoderTrainer(spec, labels, config, identity=identity)
    _train(
        trainer, training, validation, checkpoint=out.with_suffix(".checkpoint"), epochs=config.epochs, report=report
    )
    accuracy, per_class = trainer.test(validation)
    summary = PretrainSummary(
        accuracy, per_class, (len(training), len(validation)), failed, trainer.history, trainer.seconds
    )
    about = {"settings": stored_settings(config), "labels": labels, "accuracy": accuracy, "clips": list(summary.clips)}
    with whole_file(out) as partial:
        save_trained(partial, trainer.network, spec, about=about)
    made = {"identity": identity, "bytes_of_clips": _bytes_of(clips), "sha256": sha256_of_file(out)}
    write_json(out.with_suffix(".json"), {**about, **asdict(summary), "made": made})
    out.with_suffix(".checkpoint").unlink(missing_ok=True)
    return summary


def _train(
    trainer: EncoderTrainer,
    training: list[CachedClip],
    validation: list[CachedClip],
    *,
    checkpoint: Path,
    epochs: int,
    report: Report,
) -> None:
    """Train up to epoch `epochs`, from the checkpoint if there is one; write it after each epoch."""
    trainer.load(checkpoint)
    while trainer.epoch < epochs:
        trainer.train(training)
        last = trainer.history[-1]
        last["accuracy"], _ = trainer.test(validation)
        trainer.save(checkpoint)
        text = f"epoch {trainer.epoch}/{epochs}, loss {last['loss']:.3f}, accuracy {100 * last['accuracy']:.1f}%"
        report(_CACHING + (1 - _CACHING) * trainer.epoch / epochs, text)


def _split(
    source: Path, annotations: Path | None, spec: EncoderSpec, config: PretrainConfig
) -> tuple[list[Clip], list[Clip]]:
    """Return the training clips and the held-out clips."""
    if annotations is not None:
        return segment_clips(source, annotations, config, shortest_seconds=spec.window_frames / spec.fps)
    if config.background:
        raise PipelineError("background is what lies between annotated segments; give --annotations with it")
    clips = find_clips(source, group_pattern=config.group_pattern)
    return split_by_group(clips, share=config.validation_share, seed=config.seed)


def remove_frames(out: Path) -> None:
    """Remove the small frames beside the weights `out`."""
    shutil.rmtree(out.with_suffix(".frames"), ignore_errors=True)


def training_spec(config: PretrainConfig) -> EncoderSpec:
    """Return the spec of the encoder to train: the catalog's, at the chosen size.

    Raises:
        PipelineError, EncoderError: there is no such network, or it does not take RGB frames.
    """
    spec = catalog_entry(config.network).spec
    if spec.modality != "rgb":
        raise PipelineError(f"network must take RGB frames, got {config.network}, which takes {spec.modality}")
    side = config.size or spec.crop_size
    return replace(
        spec,
        crop_size=side,
        short_side=math.ceil(side * 8 / 7),  # 256 for 224, as is common
        fixed_size=None,
        source=f"{spec.source}; trained here on clips at {side} pixels",
    )


def _finished_before(out: Path, identity: str, clips: Sequence[Clip]) -> PretrainSummary | None:
    """Return the result that left the weights `out`, if they are whole, of this identity, and no clip has changed."""
    try:
        value = read_json(out.with_suffix(".json"), what="record of the training")
        made = value["made"]
        if (made["identity"], made["bytes_of_clips"]) != (identity, _bytes_of(clips)):
            return None
        newest = max(clip.path.stat().st_mtime_ns for clip in clips)
        if newest > out.stat().st_mtime_ns or sha256_of_file(out) != made["sha256"]:
            return None
        known = {name: value[name] for name in ("accuracy", "per_class", "failed", "history", "seconds")}
        return PretrainSummary(clips=tuple(value["clips"]), finished_before=True, **known)
    except (PipelineError, OSError, KeyError, TypeError):  # not finished, or made by an older version
        return None


def _bytes_of(clips: Sequence[Clip]) -> int:
    return sum(path.stat().st_size for path in {clip.path for clip in clips})


def _identity(clips: Sequence[Clip], config: PretrainConfig) -> str:
    facts = [[str(clip.path), clip.label, clip.group, clip.span] for clip in clips]
    return sha256(json.dumps([facts, stored_settings(config)], sort_keys=True, default=str).encode()).hexdigest()

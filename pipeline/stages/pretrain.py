"""Stage: trimmed clips → weights of a snippet encoder, trained to tell their classes apart.

That is the pretext of every frozen encoder. WEIGHTS carries its spec and goes straight into `extract --weights`.
Beside it lie WEIGHTS.json (accuracy, history), WEIGHTS.frames/ (small frames of the clips, which may be removed
afterwards) and, while training is not finished, WEIGHTS.checkpoint.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from pickle import UnpicklingError

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from encoders.catalog import catalog_entry
from encoders.loading import load_network
from encoders.runtime import has_fast_bf16, resolve_device
from encoders.spec import EncoderSpec
from encoders.trained import save_trained
from pipeline.errors import PipelineError
from pipeline.pretraining.annotated_segments import segment_clips
from pipeline.pretraining.clips import Clip, find_clips, split_by_group
from pipeline.pretraining.config import PretrainConfig
from pipeline.pretraining.data import CachedClip, cache_clips, held_out_windows, training_batches
from pipeline.progress import Report, silent
from pipeline.storage.atomic_files import whole_file, write_json
from pipeline.storage.read_files import read_json, sha256_of_file
from pipeline.text.plain import counted
from sola.old_names import stored_settings

_CACHING = 0.2  # share of the progress that filling the cache counts for


@dataclass
class PretrainSummary:
    """What came of it.

    Args:
        accuracy: on the held-out groups, 0 to 1; ``per_class`` the same of each class.
        clips: number for training, and held out.
        failed: clips that could not be read, by path.
        history: of each epoch: mean training loss, and accuracy on the held-out groups.
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
        """One line."""
        classes = ", ".join(f"{name} {100 * value:.0f}%" for name, value in self.per_class.items())
        before = "trained before, unchanged (remove the file to train again): " if self.finished_before else ""
        return (
            f"{before}accuracy on {counted(self.clips[1], 'clip')} of held-out groups {100 * self.accuracy:.1f}% "
            f"({classes}); trained on {counted(self.clips[0], 'clip')} in {self.seconds:.0f} s"
        )


def pretrain(
    source: Path, out: Path, config: PretrainConfig, *, annotations: Path | None = None, report: Report = silent
) -> PretrainSummary:
    """Trains the encoder that ``config`` names on the clips in ``source`` and writes its weights to ``out``.

    Interrupted, the same command goes on after the last whole epoch and ends with the same weights; when it has
    finished, and clips and settings are the same, nothing is done.

    Args:
        source: class folders of trimmed clips, or a CSV file; see :func:`pipeline.pretraining.clips.find_clips`. With
            ``annotations``: untrimmed videos, as for `extract`.
        out: a .safetensors file.
        annotations: of the videos; their segments are the clips (``pretraining.annotated_segments.segment_clips``).
        report: told the share that is done, 0 to 1.

    Raises:
        PipelineError, EncoderError: too few clips, an unknown network, weights that do not fit.
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
    trainer = _Trainer(spec, labels, config, identity=identity)
    trainer.load(out.with_suffix(".checkpoint"))
    while trainer.epoch < config.epochs:
        trainer.train(training)
        accuracy, _ = trainer.test(validation)
        trainer.history[-1]["accuracy"] = accuracy
        trainer.save(out.with_suffix(".checkpoint"))
        done = _CACHING + (1 - _CACHING) * trainer.epoch / config.epochs
        last = trainer.history[-1]
        report(done, f"epoch {trainer.epoch}/{config.epochs}, loss {last['loss']:.3f}, accuracy {100 * accuracy:.1f}%")
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


def _split(
    source: Path, annotations: Path | None, spec: EncoderSpec, config: PretrainConfig
) -> tuple[list[Clip], list[Clip]]:
    """The clips to learn from, and those held out."""
    if annotations is not None:
        return segment_clips(source, annotations, config, shortest_seconds=spec.window_frames / spec.fps)
    if config.background:
        raise PipelineError("background is what lies between annotated segments; give --annotations with it")
    clips = find_clips(source, group_pattern=config.group_pattern)
    return split_by_group(clips, share=config.validation_share, seed=config.seed)


def remove_frames(out: Path) -> None:
    """Removes the small frames beside the weights ``out``."""
    shutil.rmtree(out.with_suffix(".frames"), ignore_errors=True)


def training_spec(config: PretrainConfig) -> EncoderSpec:
    """The spec of the encoder that is trained: the catalog's at the chosen size.

    Raises:
        PipelineError, EncoderError: no such network, or one that is not trained from pictures.
    """
    spec = catalog_entry(config.network).spec
    if spec.modality != "rgb":
        raise PipelineError(f"network must see pictures, got {config.network}, which sees {spec.modality}")
    side = config.size or spec.crop_size
    return replace(
        spec,
        crop_size=side,
        short_side=math.ceil(side * 8 / 7),  # 256 for 224, as the field has it
        fixed_size=None,
        source=f"{spec.source}; trained here on clips at {side} pixels",
    )


def _finished_before(out: Path, identity: str, clips: Sequence[Clip]) -> PretrainSummary | None:
    """How the weights ``out`` came about, if they are whole, of this identity, and no clip has changed since."""
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
    except (PipelineError, OSError, KeyError, TypeError):  # not finished, or by an older version
        return None


def _bytes_of(clips: Sequence[Clip]) -> int:
    return sum(path.stat().st_size for path in {clip.path for clip in clips})


def _identity(clips: Sequence[Clip], config: PretrainConfig) -> str:
    facts = [[str(clip.path), clip.label, clip.group, clip.span] for clip in clips]
    return sha256(json.dumps([facts, stored_settings(config)], sort_keys=True, default=str).encode()).hexdigest()


class _Trainer:
    """The network with its classifier, optimizer and history."""

    def __init__(self, spec: EncoderSpec, labels: Sequence[str], config: PretrainConfig, *, identity: str) -> None:
        self._spec, self._labels, self._config, self._identity = spec, labels, config, identity
        self._device = resolve_device(config.device)
        torch.manual_seed(config.seed)
        entry = catalog_entry(config.network)
        self.network, _, _ = load_network(entry, weights=config.weights, seed=config.seed)
        self.network.requires_grad_(True).to(self._device)
        self._classifier = nn.Linear(spec.feature_dim, len(labels)).to(self._device)
        parameters = [*self.network.parameters(), *self._classifier.parameters()]
        self._optimizer = torch.optim.AdamW(parameters, lr=config.learning_rate, weight_decay=config.weight_decay)
        self._mean = torch.tensor(spec.mean, device=self._device)
        self._std = torch.tensor(spec.std, device=self._device)
        self._autocast = config.precision == "bf16" or (
            config.precision == "auto" and (self._device.type == "cuda" or has_fast_bf16())
        )
        self.epoch = 0
        self.seconds = 0.0
        self.history: list[dict[str, float]] = []

    def train(self, clips: Sequence[CachedClip]) -> None:
        """One epoch."""
        started = time.monotonic()
        config = self._config
        self.network.train()
        threads = max(1, min(4, (os.cpu_count() or 1) - 1))
        batches = training_batches(
            clips, self._spec, batch_size=config.batch_size, seed=config.seed, epoch=self.epoch, threads=threads
        )
        a_epoch = math.ceil(len(clips) / config.batch_size)
        losses = []
        for number, (pixels, places) in enumerate(batches):
            for group in self._optimizer.param_groups:
                group["lr"] = config.learning_rate * self._pace(self.epoch + number / a_epoch)
            logits = self._logits(pixels)
            loss = F.cross_entropy(logits, places.to(self._device), label_smoothing=config.label_smoothing)
            if not torch.isfinite(loss):
                raise PipelineError(f"the loss is not finite in epoch {self.epoch + 1}: lower --learning-rate")
            self._optimizer.zero_grad(set_to_none=True)
            loss.backward()
            self._optimizer.step()
            losses.append(loss.item())
        self.epoch += 1
        self.seconds += time.monotonic() - started
        self.history.append({"loss": sum(losses) / len(losses)})

    def _pace(self, epoch: float) -> float:
        """The learning rate's share of its peak: a rising line, then half a cosine to 0."""
        warm = min(self._config.warmup_epochs, self._config.epochs / 2)
        if epoch < warm:
            return (epoch + 0.1) / (warm + 0.1)
        return 0.5 * (1 + math.cos(math.pi * (epoch - warm) / max(1e-9, self._config.epochs - warm)))

    def _logits(self, pixels: Tensor) -> Tensor:
        """[B, K] of snippets uint8 [B, F, S, S, 3]."""
        values = (pixels.to(self._device).float() / 255 - self._mean) / self._std
        with torch.autocast(self._device.type, dtype=torch.bfloat16, enabled=self._autocast):
            if self._spec.layout == "frames":
                batch, frames = values.shape[:2]
                features = self.network(values.flatten(0, 1).permute(0, 3, 1, 2))
                features = features.view(batch, frames, -1).mean(dim=1)
            else:
                features = self.network(values.permute(0, 4, 1, 2, 3))
        logits: Tensor = self._classifier(features.float())
        return logits

    @torch.no_grad()
    def test(self, clips: Sequence[CachedClip]) -> tuple[float, dict[str, float]]:
        """Accuracy on clips, from the mean of the logits of a few windows of each: of all, and of each class."""
        self.network.eval()
        right: dict[int, list[bool]] = {}
        for clip in clips:
            logits = self._logits(held_out_windows(clip, self._spec, count=self._config.test_windows)).mean(dim=0)
            right.setdefault(clip.place, []).append(int(logits.argmax()) == clip.place)
        all_of_them = [hit for hits in right.values() for hit in hits]
        per_class = {self._labels[place]: sum(hits) / len(hits) for place, hits in sorted(right.items())}
        return sum(all_of_them) / len(all_of_them), per_class

    def save(self, path: Path) -> None:
        state = {
            "identity": self._identity,
            "epoch": self.epoch,
            "seconds": self.seconds,
            "history": self.history,
            "network": self.network.state_dict(),
            "classifier": self._classifier.state_dict(),
            "optimizer": self._optimizer.state_dict(),
        }
        with whole_file(path) as partial:
            torch.save(state, partial)

    def load(self, path: Path) -> None:
        """Goes on from a checkpoint of the same clips and settings, where there is one."""
        if not path.is_file():
            return
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
        except (RuntimeError, OSError, ValueError, EOFError, UnpicklingError) as error:
            raise PipelineError(f"{path} cannot be read ({error}); remove it to train from the start") from None
        if state["identity"] != self._identity:
            raise PipelineError(f"{path} is of other clips or settings; remove it, or choose another --out")
        self.epoch, self.seconds, self.history = state["epoch"], state["seconds"], state["history"]
        self.network.load_state_dict(state["network"])
        self._classifier.load_state_dict(state["classifier"])
        self._optimizer.load_state_dict(state["optimizer"])

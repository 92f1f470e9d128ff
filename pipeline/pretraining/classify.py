"""The task that published encoders are trained on: tell the classes of trimmed clips apart."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import nn
from torch.nn import functional as F

from encoders.spec import EncoderSpec
from pipeline.errors import PipelineError
from pipeline.pretraining.annotated_segments import segment_clips
from pipeline.pretraining.clips import Clip, find_clips, split_by_group
from pipeline.pretraining.config import PretrainConfig
from pipeline.pretraining.data import CachedClip, cache_clips, held_out_windows, training_batches
from pipeline.pretraining.task import Encode, Outcome, Request, TaskBatch
from pipeline.progress import Report
from pipeline.text.plain import counted
from sola.distributed import Team


def plan_classify(request: Request) -> ClassifyPlan:
    """Return the clips, or the annotated segments, in two sides.

    Raises:
        PipelineError: bad annotations, too few clips, or one class only.
    """
    config, spec = request.config, request.spec
    if request.annotations is not None:
        shortest = spec.window_frames / spec.fps
        split = segment_clips(request.source, request.annotations, config, shortest_seconds=shortest)
    elif config.background:
        raise PipelineError("background is what lies between annotated segments; give --annotations with it")
    else:
        clips = find_clips(request.source, group_pattern=config.group_pattern)
        split = split_by_group(clips, share=config.validation_share, seed=config.seed)
    return ClassifyPlan(request, *split)


class ClassifyPlan:
    """The clips of both sides, and their identity."""

    def __init__(self, request: Request, training: Sequence[Clip], held_out: Sequence[Clip]) -> None:
        self._request, self.training, self.held_out = request, training, held_out
        clips = sorted((*training, *held_out), key=lambda clip: (str(clip.path), clip.span or ()))
        self.facts = clip_facts(clips)
        self.files = [clip.path for clip in clips]

    def prepare(self, folder: Path, report: Report) -> ClassifyTask:
        """Cache the small frames of the clips in `folder`, and return the task.

        Raises:
            PipelineError: no clip of one side can be read.
        """
        spec = self._request.spec
        sides = self.training, self.held_out
        labels = sorted({clip.label for clip in self.training})
        cached, failed = cache_sides(sides, labels, spec, folder, report)
        if not all(cached):
            first = next(iter(failed.values()))
            raise PipelineError(f"no clip in {self._request.source} can be used, the first: {first}")
        return ClassifyTask(cached, labels, spec, self._request.config, failed)


def clip_facts(clips: Sequence[Clip]) -> list[list[Any]]:
    """Return what tells clips from others, as JSON values."""
    return [[str(clip.path), clip.label, clip.group, clip.span] for clip in clips]


def cache_sides(
    sides: Sequence[Sequence[Clip]], labels: Sequence[str], spec: EncoderSpec, folder: Path, report: Report
) -> tuple[list[list[CachedClip]], dict[str, str]]:
    """Cache the frames of the clips of each side in `folder`, and return the cached clips and the failures by path."""
    number, before = sum(map(len, sides)), 0

    def cached(done: int) -> None:
        report((before + done) / number, f"small frames of {before + done}/{number} clips")

    there: list[list[CachedClip]] = []
    failed: dict[str, str] = {}
    for side in sides:
        clips, more = cache_clips(side, labels, spec, folder, cached)
        before += len(side)
        there.append(clips)
        failed |= more
    return there, failed


class ClassifyTask:
    """Trimmed clips with labels, and a linear classifier on the features of a window."""

    keeps_best: ClassVar[bool] = False
    heads: nn.Module

    def __init__(
        self,
        clips: Sequence[Sequence[CachedClip]],
        labels: Sequence[str],
        spec: EncoderSpec,
        config: PretrainConfig,
        failed: dict[str, str],
    ) -> None:
        self._training, self._held_out = clips
        self._labels, self._spec, self._config, self.failed = labels, spec, config, failed
        self.samples = len(self._training), len(self._held_out)
        self.steps_per_epoch = math.ceil(len(self._training) / config.batch_size)
        self.about: dict[str, Any] = {"labels": list(labels)}

    def start(self, network: nn.Module, encode: Encode, device: torch.device) -> None:
        """Build the classifier."""
        self._device = device
        self.heads = nn.Linear(self._spec.feature_dim, len(self._labels)).to(device)

    def batches(self, epoch: int, team: Team) -> Iterator[TaskBatch]:
        """Yield every clip once, a random window of each."""
        return training_batches(self._training, self._spec, config=self._config, epoch=epoch, team=team)

    def losses(self, encode: Encode, batch: TaskBatch) -> dict[str, torch.Tensor]:
        """Return the cross-entropy of the classes."""
        places = batch.targets["place"].to(self._device)
        logits = self.heads(encode(batch.pixels))
        return {"class": F.cross_entropy(logits, places, label_smoothing=self._config.label_smoothing)}

    def after_step(self, network: nn.Module) -> None:
        """Do nothing."""

    def validate(self, encode: Encode) -> dict[str, float]:
        """Return the accuracy on all held-out clips; a clip's logits are the mean over a few windows."""
        hits = [hit for of_class in self._hits(encode).values() for hit in of_class]
        return {"accuracy": sum(hits) / len(hits)}

    def outcome(self, encode: Encode) -> Outcome:
        """Return the accuracy on all held-out clips and on each class."""
        hits = {self._labels[place]: of_class for place, of_class in sorted(self._hits(encode).items())}
        per_class = {name: sum(of_class) / len(of_class) for name, of_class in hits.items()}
        all_of_them = [hit for of_class in hits.values() for hit in of_class]
        accuracy = sum(all_of_them) / len(all_of_them)
        text = accuracy_text(self.samples[1], accuracy, per_class)
        return Outcome(text, {"accuracy": accuracy}, {"per_class": per_class})

    def _hits(self, encode: Encode) -> dict[int, list[bool]]:
        right: dict[int, list[bool]] = {}
        for clip in self._held_out:
            pixels = held_out_windows(clip, self._spec, count=self._config.test_windows)
            logits = self.heads(encode(pixels)).mean(dim=0)
            right.setdefault(clip.place, []).append(int(logits.argmax()) == clip.place)
        return right

    def state(self) -> dict[str, Any]:
        """Return nothing: the classifier is all there is."""
        return {}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Do nothing."""


def accuracy_text(clips: int, accuracy: float, per_class: Mapping[str, float]) -> str:
    """Return the accuracy in words."""
    classes = ", ".join(f"{name} {100 * value:.0f}%" for name, value in per_class.items())
    return f"accuracy on {counted(clips, 'clip')} of held-out groups {100 * accuracy:.1f}% ({classes})"

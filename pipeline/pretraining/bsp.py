"""Boundary-sensitive pretraining (BSP): tell four kinds of made clips apart, from classes of trimmed clips only.

A clip as long as the network's window is made of two videos of two classes, of two videos of one class, of one video
whose speed changes, or of one video as it is (`bsp_plan`). The classes themselves are not predicted.

Source: Xu et al., Boundary-sensitive pre-training for temporal localization in videos, ICCV 2021 (arXiv 2011.10830).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from encoders.spec import EncoderSpec
from pipeline.errors import PipelineError
from pipeline.pretraining.bsp_baseline import OneFeatureRule, baseline_in_words, largest_difference, shares_right
from pipeline.pretraining.bsp_made import MadeClips, window_of
from pipeline.pretraining.bsp_plan import TYPES
from pipeline.pretraining.classify import ClassifyPlan, cache_sides, plan_classify
from pipeline.pretraining.config import PretrainConfig
from pipeline.pretraining.data import Step, frames_file, rendered, shuffled_steps
from pipeline.pretraining.task import Encode, Outcome, Request, TaskBatch
from pipeline.progress import Report
from pipeline.text.plain import counted
from sola.distributed import Team

_BASELINE_EPOCH = 2**31  # of the clips that the baseline learns from: no epoch of training has them


def plan_bsp(request: Request) -> BspPlan:
    """Return the clips, or the annotated segments, in two sides.

    Raises:
        PipelineError: bad annotations, too few clips, one class only, or a network that BSP does not suit.
    """
    if request.config.background:
        raise PipelineError("background must be left out with task bsp: it is no class whose clips are alike")
    window_of(request.spec)
    return BspPlan(request, plan_classify(request))


class BspPlan:
    """The clips of both sides, and their identity: those of the task `classify`."""

    def __init__(self, request: Request, clips: ClassifyPlan) -> None:
        self._request, self._clips = request, clips
        self.facts, self.files = clips.facts, clips.files

    def prepare(self, folder: Path, report: Report) -> BspTask:
        """Cache the small frames of the clips in `folder`, and return the task.

        Raises:
            PipelineError: no clip can be read, or those of one side do not do for one of the types.
        """
        spec, config = self._request.spec, self._request.config
        sides = {"training": self._clips.training, "held-out": self._clips.held_out}
        labels = sorted({clip.label for clip in self._clips.training})
        cached, failed = cache_sides(list(sides.values()), labels, spec, folder, report)
        if not all(cached):
            first = next(iter(failed.values()))
            raise PipelineError(f"no clip in {self._request.source} can be used, the first: {first}")
        made = []
        for (side, clips), there in zip(sides.items(), cached, strict=True):
            # One stretch of a video may have two labels, and so be two clips with one file of frames.
            known = {(frames_file(clip, spec, folder), labels.index(clip.label)): clip for clip in clips}
            usable = [(known[one.file, one.place], one.file, one.frames) for one in there]
            made.append(MadeClips(usable, spec, config, side))
        return BspTask(made, spec, config, failed)


class BspTask:
    """Made clips of four types, and a linear classifier on the features of a window.

    Args:
        made: of the training videos, and of the held-out ones.
    """

    keeps_best: ClassVar[bool] = False
    heads: nn.Module

    def __init__(
        self, made: Sequence[MadeClips], spec: EncoderSpec, config: PretrainConfig, failed: dict[str, str]
    ) -> None:
        self._training, self._held_out = made
        self._spec, self._config, self.failed = spec, config, failed
        self.samples = self._training.planner.usable, self._held_out.planner.usable
        self.steps_per_epoch = math.ceil(self.samples[0] / config.batch_size)
        self.about: dict[str, Any] = {"types": list(TYPES)}

    def start(self, network: nn.Module, encode: Encode, device: torch.device) -> None:
        """Build the classifier."""
        self._device = device
        self.heads = nn.Linear(self._spec.feature_dim, len(TYPES)).to(device)

    def batches(self, epoch: int, team: Team) -> Iterator[TaskBatch]:
        """Yield whole batches of new clips, about as many as there are clips to make them of."""
        size = self._config.batch_size
        steps = shuffled_steps(self.steps_per_epoch * size, batch_size=size, seed=[self._config.seed, epoch], team=team)
        for step, pixels in rendered(steps, lambda index: self._training.augmented(epoch, index)):
            types = torch.tensor([self._training.type_of(epoch, index) for index in step.places])
            yield TaskBatch(pixels, {"type": types}, step.share)

    def losses(self, encode: Encode, batch: TaskBatch) -> dict[str, Tensor]:
        """Return the cross-entropy of the types."""
        types = batch.targets["type"].to(self._device)
        logits = self.heads(encode(batch.pixels))
        return {"type": F.cross_entropy(logits, types, label_smoothing=self._config.label_smoothing)}

    def after_step(self, network: nn.Module) -> None:
        """Do nothing."""

    def validate(self, encode: Encode) -> dict[str, float]:
        """Return the share of held-out made clips whose type is found, of all and of each type."""
        accuracy, per_type = shares_right(self._answers(encode), self._types(self._held_out, 0), TYPES)
        return {"accuracy": accuracy, **per_type}

    def outcome(self, encode: Encode) -> Outcome:
        """Return the accuracy on held-out made clips, and what the largest frame difference alone reaches there."""
        types = self._types(self._held_out, 0)
        accuracy, per_type = shares_right(self._answers(encode), types, TYPES)
        learned_from = self._differences(self._training, _BASELINE_EPOCH)
        rule = OneFeatureRule.learned(learned_from, self._types(self._training, _BASELINE_EPOCH))
        baseline, per_type_baseline = shares_right(rule.answer(self._differences(self._held_out, 0)), types, TYPES)
        text = (
            f"accuracy on {counted(len(types), 'made clip')} of held-out videos {_in_words(accuracy, per_type)}, "
            f"by the largest frame difference alone {_in_words(baseline, per_type_baseline)}"
            f"{baseline_in_words(accuracy, baseline, self._config.bsp.join)}"
        )
        details = {"per_type": per_type, "baseline": baseline, "baseline_per_type": per_type_baseline}
        return Outcome(text, {"accuracy": accuracy}, {**details, "notes": self._notes()})

    def _notes(self) -> list[str]:
        notes = [*self._training.planner.unused, *self._held_out.planner.unused]
        if self._spec.layout == "frames":
            name = self._spec.name
            notes.append(
                f"{name} averages its frames and cannot see their order: take a network of clips such as x3d_s"
            )
        return notes

    def _types(self, made: MadeClips, epoch: int) -> list[int]:
        return [made.type_of(epoch, index) for index in range(self._config.bsp.test_clips)]

    def _plain(self, made: MadeClips, epoch: int) -> Iterator[Tensor]:
        """Yield clips without augmentation, uint8 [N, F, S, S, 3], in batches."""
        count, size = self._config.bsp.test_clips, self._config.batch_size
        steps = [Step(tuple(range(first, min(first + size, count))), 1.0) for first in range(0, count, size)]
        yield from (pixels for _, pixels in rendered(steps, lambda index: made.plain(epoch, index)))

    def _answers(self, encode: Encode) -> list[int]:
        batches = self._plain(self._held_out, 0)
        return [answer for pixels in batches for answer in self.heads(encode(pixels)).argmax(dim=1).tolist()]

    def _differences(self, made: MadeClips, epoch: int) -> list[float]:
        return [largest_difference(clip) for pixels in self._plain(made, epoch) for clip in pixels]

    def state(self) -> dict[str, Any]:
        """Return nothing: the classifier is all there is."""
        return {}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Do nothing."""


def _in_words(accuracy: float, per_type: Mapping[str, float]) -> str:
    types = ", ".join(f"{name.replace('_', ' ')} {100 * value:.0f}%" for name, value in per_type.items())
    return f"{100 * accuracy:.1f}% ({types})"

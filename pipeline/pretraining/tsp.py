"""The tasks TSP and TAC: name the action of a clip and, for TSP, tell whether it shows any.

TSP: temporally sensitive pretraining. TAC: the same clips of actions, without the question for background; it is the
control that TSP is measured against.

Source: TSP (Alwassel et al. 2021).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from encoders.random_weights import state_sha256
from pipeline.pretraining.data import cells_of, rendered, shuffled_steps
from pipeline.pretraining.global_feature import pooled, stored_features
from pipeline.pretraining.task import Encode, Outcome, Request, TaskBatch
from pipeline.pretraining.tsp_heads import ACTION, NO_ACTION, UNLABELED, TspHeads, action_loss, region_loss
from pipeline.pretraining.tsp_rows import Parts, Row, even_starts, training_starts
from pipeline.pretraining.video_cells import VideoCells
from pipeline.text.plain import counted
from sola.distributed import Team

_OF_VIEW = 17  # keeps the random numbers of views apart from those of starts


@dataclass(frozen=True)
class TspData:
    """What the tasks read.

    Args:
        parts: the rows.
        frames: of the videos of all rows, by id.
        windows: the cells of each window of the whole video, for the global feature; none without it.
        feature_file: where the global features are.
        words: what became of segments and gaps.
        failed: path → reason of the videos that could not be read.
    """

    parts: Parts
    frames: Mapping[str, VideoCells]
    windows: Mapping[str, list[list[int]]]
    feature_file: Path
    words: str
    failed: dict[str, str]


class TspTask:
    """The rows with their frames, the heads, and the global features.

    Args:
        with_region: TSP; else TAC.
    """

    keeps_best: ClassVar[bool] = True
    heads: nn.Module

    def __init__(self, request: Request, data: TspData, *, with_region: bool) -> None:
        self._spec, self._config, self._data = request.spec, request.config, data
        self._with_region, self._parts, self.failed = with_region, data.parts, data.failed
        self._labels = sorted({row.label for row in data.parts.training if row.label is not None})
        self._pooling = self._config.tsp.global_feature if with_region else "none"
        self._count = self._config.tsp.clips_per_row
        self.samples = len(data.parts.training) * self._count, len(data.parts.held_out) * self._count
        self.steps_per_epoch = math.ceil(self.samples[0] / self._config.batch_size)
        self.about: dict[str, Any] = {"labels": self._labels, "rows": data.words}
        self._features: dict[str, Tensor] = {}

    def start(self, network: nn.Module, encode: Encode, device: torch.device) -> None:
        """Build the heads, and take each video's global feature from the initial weights."""
        self._device = device
        channels = self._spec.feature_dim
        self.heads = TspHeads(
            channels,
            len(self._labels),
            global_channels=0 if self._pooling == "none" else channels,
            with_region=self._with_region,
        ).to(device)
        if self._pooling == "none":
            return
        facts = {
            "weights": state_sha256(network.state_dict()),
            "spec": self._spec.as_dict(),
            "pooling": self._pooling,
            "frames": [cells.file.name for cells in self._data.frames.values()],
        }
        how = self._pooling

        def feature_of(video: str) -> Tensor:
            return pooled(self._encoded_windows(video, encode), how)

        made = stored_features(self._data.feature_file, list(self._data.frames), facts, feature_of)
        self._features = {video: feature.to(device) for video, feature in made.items()}

    def _encoded_windows(self, video: str, encode: Encode) -> Iterator[Tensor]:
        windows, size = self._data.windows[video], self._config.batch_size
        for first in range(0, len(windows), size):
            chosen = windows[first : first + size]
            yield encode(torch.stack([self._center(self._data.frames[video].frames(cells)) for cells in chosen]))

    def batches(self, epoch: int, team: Team) -> Iterator[TaskBatch]:
        """Yield this rank's part of the clips of all rows, each clip at a random place, crop and mirroring."""
        rows, count, seed = self._parts.training, self._count, self._config.seed
        starts = [training_starts(row, seed=seed, epoch=epoch, count=count) for row in rows]

        def steps_of(rank: int) -> list[Any]:
            ranked = Team(rank, team.size)
            return shuffled_steps(
                len(rows) * count, batch_size=self._config.batch_size, seed=[seed, epoch], team=ranked
            )

        def render(place: int) -> Tensor:
            row, k = rows[place // count], place % count
            rng = np.random.default_rng([_OF_VIEW, seed, epoch, row.index, k])
            return random_crop(self._clip(row, starts[place // count][k]), rng, self._spec.crop_size)

        labeled = [
            sum(rows[place // count].label is not None for step in ranks for place in step.places)
            for ranks in zip(*(steps_of(rank) for rank in range(team.size)), strict=True)
        ]
        steps = steps_of(team.rank)
        for number, (step, pixels) in enumerate(rendered(steps, render)):
            chosen = [rows[place // count] for place in step.places]
            places = torch.tensor([self._place(row) for row in chosen])
            regions = torch.tensor([_region(row) for row in chosen])
            targets = {"place": places, "region": regions, "labeled": torch.tensor(labeled[number])}
            if self._features:
                targets["global"] = torch.stack([self._features[row.video] for row in chosen])
            yield TaskBatch(pixels, targets, step.share)

    def losses(self, encode: Encode, batch: TaskBatch) -> dict[str, Tensor]:
        """Return the cross-entropies of the action, over labeled clips, and of the region, over all."""
        targets = {name: target.to(self._device) for name, target in batch.targets.items()}
        action, region = self.heads(encode(batch.pixels), targets.get("global"))
        # The part of a rank is weighted with its share of clips; the mean here is over the labeled ones of all ranks.
        labeled = int(targets["labeled"])
        losses = {"action": action_loss(action, targets["place"], labeled=labeled) / batch.share}
        if region is not None:
            losses["region"] = region_loss(region, targets["region"])
        return losses

    def after_step(self, network: nn.Module) -> None:
        """Do nothing: the global features stay those of the initial weights."""

    def validate(self, encode: Encode) -> dict[str, float]:
        """Return the accuracies on held-out videos of the training subset, the mean of both first."""
        return self._accuracies(self._parts.held_out, encode)

    def outcome(self, encode: Encode) -> Outcome:
        """Return the accuracies on the held-out videos and, if there are any, on those of the validation subset."""
        measures = self._accuracies(self._parts.held_out, encode)
        videos = counted(len({row.video for row in self._parts.held_out}), "held-out training video")
        text = f"accuracy on {videos}: {_in_words(measures)}"
        if self._parts.validation:
            apart = self._accuracies(self._parts.validation, encode)
            text += f"; on the subset {self._config.validation_subset}: {_in_words(apart)}"
            measures |= {f"validation_{name}": value for name, value in apart.items()}
        return Outcome(f"{text}; {self._data.words}", measures)

    def _accuracies(self, rows: Sequence[Row], encode: Encode) -> dict[str, float]:
        """Return the shares of clips with the right action (of those whose class is known) and the right region."""
        right_actions: list[bool] = []
        right_regions: list[bool] = []
        for row in rows:
            clips = [self._center(self._clip(row, start)) for start in even_starts(row, count=self._count)]
            given = self._features[row.video].expand(len(clips), -1) if self._features else None
            action, region = self.heads(encode(torch.stack(clips)), given)
            if self._place(row) != UNLABELED:
                right_actions += (action.argmax(dim=1) == self._place(row)).tolist()
            if region is not None:
                right_regions += (region.argmax(dim=1) == _region(row)).tolist()
        found = {"action_accuracy": right_actions, "region_accuracy": right_regions}
        accuracies = {name: sum(right) / len(right) for name, right in found.items() if right}
        if not self._with_region:
            return accuracies
        return {"mean_accuracy": sum(accuracies.values()) / len(accuracies), **accuracies}

    def _clip(self, row: Row, start: int) -> Tensor:
        return self._data.frames[row.video].frames([start + cell for cell in cells_of(self._spec)])

    def _center(self, frames: Tensor) -> Tensor:
        top, left, size = self._spec.crop_box(frames.shape[1], frames.shape[2])
        return frames[:, top : top + size, left : left + size]

    def _place(self, row: Row) -> int:
        """Return the class index; `UNLABELED` for a gap, and for a class that the training rows lack."""
        return self._labels.index(row.label) if row.label in self._labels else UNLABELED

    def state(self) -> dict[str, Any]:
        """Return nothing: the heads are all there is."""
        return {}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Do nothing."""


def random_crop(frames: Tensor, rng: np.random.Generator, size: int) -> Tensor:
    """Return a random square of the frames, uint8 [F, size, size, 3], mirrored every other time, the same for all."""
    top, left = (int(rng.integers(side - size + 1)) for side in frames.shape[1:3])
    cropped = frames[:, top : top + size, left : left + size]
    return (cropped.flip(2) if rng.random() < 0.5 else cropped).contiguous()


def _region(row: Row) -> int:
    return NO_ACTION if row.label is None else ACTION


def _in_words(measures: Mapping[str, float]) -> str:
    return ", ".join(f"{name.removesuffix('_accuracy')} {100 * value:.1f}%" for name, value in measures.items())

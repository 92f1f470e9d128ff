"""The task "after PAL": regions of unlabeled videos, pasted into two other videos each, get equal features.

Only the outline of PAL is public (Zhang et al. 2022, Unsupervised Pre-training for Temporal Action Localization Tasks,
CVPR 2022): two regions of a video are pasted into two others at their own place and scale, and their features are made
to agree more than those of other regions. All else is a choice of ours, see `PalConfig`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from encoders.spec import EncoderSpec
from pipeline.errors import PipelineError
from pipeline.pretraining.config import PretrainConfig
from pipeline.pretraining.data import CachedClip, Step, rendered
from pipeline.pretraining.pal_keys import KeyQueue, PalHeads, follow, key_copy
from pipeline.pretraining.pal_loss import localization, retrieval, roi_align, spread
from pipeline.pretraining.pal_pairs import PairVectors, agreement
from pipeline.pretraining.pal_plan import ClipGrid, Pair, plan_epoch, plan_step
from pipeline.pretraining.pal_render import render_pair
from pipeline.pretraining.task import Encode, Outcome, TaskBatch
from pipeline.pretraining.window_encoder import WindowEncoder, uses_bf16
from pipeline.text.plain import counted
from sola.distributed import ALONE, Team

Stretches = Sequence[CachedClip]
"""The cached stretches of one video."""

_HELD_OUT = 1 << 31  # stands in seeds where an epoch does


class PalTask:
    """Unlabeled videos, the key network and the queue.

    With several ranks each renders and encodes its own sources of a step. The ranks exchange the keys, so the negatives
    and the queue are those of one process.

    Args:
        training: the stretches of each video to learn from.
        held_out: the stretches of each other video.
        shortened: number of videos of which only stretches are used.
        failed: path → reason of the videos that cannot be used.
    """

    keeps_best: ClassVar[bool] = False
    heads: nn.Module

    def __init__(
        self,
        training: Sequence[Stretches],
        held_out: Sequence[Stretches],
        spec: EncoderSpec,
        config: PretrainConfig,
        *,
        shortened: int,
        failed: dict[str, str],
    ) -> None:
        self._training, self._held_out, self._spec, self._config = training, held_out, spec, config
        self._pal, self._grid = config.pal, ClipGrid.of(spec, config.pal)
        self._shortened, self.failed = shortened, failed
        self.samples = len(training), len(held_out)
        self.steps_per_epoch = config.pal.rounds * (len(training) // config.pal.sources)
        self.about: dict[str, Any] = {"labels_used": "none", "shortened_videos": shortened}
        self._team = ALONE
        self._fresh: tuple[Tensor, Tensor] | None = None  # keys of this step, and their sources

    def start(self, network: nn.Module, encode: Encode, device: torch.device) -> None:
        """Build the heads, the key network with its heads, and the queue."""
        pal, spec = self._pal, self._spec
        self._device = device
        locates = pal.localization_weight > 0
        self._heads = PalHeads(spec.feature_dim, pal.projection_dim, clips=pal.clips, locates=locates).to(device)
        self.heads = self._heads
        self._key, self._key_heads = key_copy(network), key_copy(self._heads)
        bf16 = uses_bf16(self._config.precision, device)
        self._encode_key = WindowEncoder(self._key, spec, device, bf16=bf16)
        self._queue = KeyQueue(pal.queue, pal.projection_dim, device)

    def batches(self, epoch: int, team: Team) -> Iterator[TaskBatch]:
        """Yield this rank's sources of each step, each as two synthetic videos.

        Raises:
            PipelineError: there are less sources in a step than ranks.
        """
        sources, seed = self._pal.sources, self._config.seed
        if sources < team.size:
            raise PipelineError(f"pal.sources must be >= {team.size} for {team.size} processes, got {sources}")
        self._team = team
        planned = plan_epoch(_lengths(self._training), self._grid, self._pal, seed=[seed, epoch])
        pairs = [pair for step in planned for pair in step]
        mine = range(sources)[team.shard(sources)]
        firsts = range(0, len(pairs), sources)
        steps = [Step(tuple(first + place for place in mine), len(mine) / sources) for first in firsts]

        def render(place: int) -> Tensor:
            return self._rendered(pairs[place], self._training, [seed, epoch, place])

        for step, pixels in rendered(steps, render):
            targets = pair_targets([pairs[place] for place in step.places])
            yield TaskBatch(pixels.flatten(0, 2), targets, step.share)
        self._average_statistics()

    def _average_statistics(self) -> None:
        """Give the key networks of all ranks the same batch norm statistics; each follows those of its own windows.

        A checkpoint holds one key network, so that a resumed training could not go on exactly otherwise.
        """
        for buffer in self._key.buffers() if self._team.size > 1 else ():
            if buffer.is_floating_point():
                buffer.copy_(self._team.total(buffer) / self._team.size)

    def _rendered(self, pair: Pair, videos: Sequence[Stretches], seed: Sequence[int]) -> Tensor:
        rng = np.random.default_rng([*seed, 0, 1]) if self._pal.augment else None

        def frames_of(video: int, stretch: int) -> NDArray[np.uint8]:
            frames: NDArray[np.uint8] = np.load(videos[video][stretch].file, mmap_mode="r", allow_pickle=False)
            return frames

        return render_pair(pair, frames_of, self._spec, self._grid, blend=self._pal.blend_frames, rng=rng)

    def losses(self, encode: Encode, batch: TaskBatch) -> dict[str, Tensor]:
        """Return the loss of regions and, as asked for, those of moments of equal source time and of the place."""
        pal, targets = self._pal, {name: value.to(self._device) for name, value in batch.targets.items()}
        features = self._by_video(encode(batch.pixels))
        with torch.no_grad():  # one synthetic video at a time takes little memory, and gives the same features
            parts = [self._encode_key(windows) for windows in batch.pixels.split(pal.clips)]
            keys = self._vectors(self._key_heads, self._by_video(torch.cat(parts)), targets)
            all_keys = keys.gathered(self._team)
        self._fresh = all_keys.regions.flatten(0, 1), all_keys.sources.repeat_interleave(2)
        queries = self._vectors(self._heads, features, targets)
        losses = agreement(queries, keys, all_keys, self._queue, temperature=pal.temperature)
        found = {"region": losses[0]}
        if pal.dense_weight > 0:
            found["dense"] = pal.dense_weight * losses[1]
        if pal.localization_weight > 0:
            places = targets["places"].flatten(0, 1) / self._grid.length
            located = self._heads.located(features.flatten(0, 1))
            found["localization"] = pal.localization_weight * localization(located, places)
        return found

    def _by_video(self, features: Tensor) -> Tensor:
        """Return features [N * 2 * T', C] as [N, 2, T', C]."""
        return features.view(-1, 2, self._pal.clips, features.shape[-1])

    def _vectors(self, heads: PalHeads, features: Tensor, targets: Mapping[str, Tensor]) -> PairVectors:
        bins = [self._bins(features, targets[name]) for name in ("places", "shared")]
        regions = heads.of_regions(bins[0].flatten(0, 1)).unflatten(0, (-1, 2))
        moments = heads.of_moments(bins[1].flatten(0, 1)).unflatten(0, (-1, 2))
        return PairVectors(regions, moments, targets["sources"], targets["meets"])

    def _bins(self, features: Tensor, intervals: Tensor) -> Tensor:
        """Return the features of intervals [N, 2, 2] of N pairs, [N, 2, R, C]."""
        found = roi_align(features.flatten(0, 1), intervals.flatten(0, 1), self._grid, bins=self._pal.bins)
        return found.unflatten(0, (-1, 2))

    def after_step(self, network: nn.Module) -> None:
        """Move the key network after the trained one, and put the step's keys into the queue."""
        follow(self._key, network, momentum=self._pal.momentum)
        follow(self._key_heads, self.heads, momentum=self._pal.momentum)
        if self._fresh is not None:
            self._queue.push(*self._fresh)
            self._fresh = None

    def validate(self, encode: Encode) -> dict[str, float]:
        """Return how often the nearest held-out region in another background is of the same video, and the spread.

        The first measure compares the encoder's features; the second projects them, as the loss does. Each test shows
        the same regions in the same views.
        """
        features, projected, sources = [], [], []
        for turn in range(self._pal.rounds):
            seed = [self._config.seed, _HELD_OUT, turn]
            everyone = range(len(self._held_out))
            for pair in plan_step(_lengths(self._held_out), everyone, self._grid, self._pal, seed=seed):
                windows = self._rendered(pair, self._held_out, [*seed, pair.source]).flatten(0, 1)
                places = pair_targets([pair])["places"].to(self._device)
                bins = self._bins(self._by_video(encode(windows)), places)[0]
                features.append(bins.mean(dim=1))
                projected.append(self._heads.of_regions(bins))
                sources.append(pair.source)
        of = torch.tensor(sources, device=self._device)
        shown, own = torch.stack(projected), torch.stack(features)
        return {
            "retrieval": retrieval(own[:, 0], own[:, 1], of),
            "projected_retrieval": retrieval(shown[:, 0], shown[:, 1], of),
            "feature_spread": spread(own.flatten(0, 1)),
        }

    def outcome(self, encode: Encode) -> Outcome:
        """Return the measures of `validate`, in words."""
        measures = self.validate(encode)
        chance = 1 / len(self._held_out)
        text = (
            f"after PAL: of {counted(self._pal.rounds * len(self._held_out), 'region')} of held-out videos "
            f"{100 * measures['retrieval']:.1f}% are nearest to one of the same video in another background "
            f"(chance {100 * chance:.1f}%); spread of the features {measures['feature_spread']:.2f}"
        )
        if self._shortened:
            longest = f"{self._pal.max_video_seconds:g} s"
            text += f"; of {counted(self._shortened, 'longer video')} evenly chosen stretches of {longest} were used"
        return Outcome(text, measures, {"chance": chance})

    def state(self) -> dict[str, Any]:
        """Return the key network, its heads and the queue."""
        key, heads = self._key.state_dict(), self._key_heads.state_dict()
        return {"key": key, "key_heads": heads, "queue": self._queue.state()}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Continue from what `state` returned."""
        self._key.load_state_dict(state["key"])
        self._key_heads.load_state_dict(state["key_heads"])
        self._queue.load_state(state["queue"])


def _lengths(videos: Sequence[Stretches]) -> list[list[int]]:
    return [[stretch.frames for stretch in stretches] for stretches in videos]


def pair_targets(pairs: Sequence[Pair]) -> dict[str, Tensor]:
    """Return what the loss needs of N pairs.

    Returns:
        `sources`, int64 [N]; `places`, float32 [N, 2, 2], the pasted frames of both synthetic videos; `meets`, bool
        [N], whether the regions share source time; and `shared`, float32 [N, 2, 2], the frames that show it.
    """
    shared = [
        [paste.place if pair.shared is None else paste.place_of(pair.shared) for paste in pair.pastes] for pair in pairs
    ]
    return {
        "sources": torch.tensor([pair.source for pair in pairs]),
        "places": torch.tensor([[paste.place for paste in pair.pastes] for pair in pairs], dtype=torch.float32),
        "meets": torch.tensor([pair.shared is not None for pair in pairs]),
        "shared": torch.tensor(shared, dtype=torch.float32),
    }

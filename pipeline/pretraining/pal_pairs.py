"""What is compared with what: regions and moments of a step's pairs, and of the queue."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.pretraining.pal_keys import KeyQueue
from pipeline.pretraining.pal_loss import info_nce
from sola.distributed import Team


@dataclass(frozen=True)
class PairVectors:
    """Unit vectors of N pairs of synthetic videos.

    Args:
        regions: of the pasted regions, [N, 2, D].
        moments: of R bins of the source time that both regions show, [N, 2, R, D].
        sources: numbers of the source videos, int64 [N].
        meets: which pairs share source time, bool [N]; the moments of the others mean nothing.
    """

    regions: Tensor
    moments: Tensor
    sources: Tensor
    meets: Tensor

    def gathered(self, team: Team) -> PairVectors:
        """Return the vectors of all ranks, by rank, without gradient."""
        parts = (self.regions, self.moments, self.sources, self.meets)
        if team.size == 1:
            return self
        device = self.regions.device
        ranks = team.all_gather(tuple(part.detach().cpu() for part in parts))
        return PairVectors(*(torch.cat(part).to(device) for part in zip(*ranks, strict=True)))


def agreement(
    queries: PairVectors, keys: PairVectors, all_keys: PairVectors, queue: KeyQueue, *, temperature: float
) -> tuple[Tensor, Tensor]:
    """Return the loss of regions and the loss of moments, each the mean over both directions.

    A query's positive is the key of the other synthetic video of its pair; of a moment, that of the same source time.
    Negatives are the keys of other sources in the step and, for regions, the queue without regions of the step's
    sources. Nothing of one's own source is a negative.

    Args:
        queries: of this rank's pairs, with gradient.
        keys: of the same pairs, without.
        all_keys: of the step's pairs on all ranks.
    """
    usable = queue.usable(all_keys.sources)
    pool = torch.cat([all_keys.regions.flatten(0, 1), queue.keys])
    others = queries.sources[:, None] != all_keys.sources.repeat_interleave(2)
    negative = torch.cat([others, usable.expand(len(others), -1)], dim=1)
    of_regions = [
        info_nce(queries.regions[:, side], keys.regions[:, 1 - side], pool, negative, temperature=temperature)
        for side in (0, 1)
    ]
    moments, matching = queries.moments[queries.meets], keys.moments[queries.meets]
    there = all_keys.moments[all_keys.meets]
    each, bins = there.shape[1] * there.shape[2], moments.shape[2]
    different = queries.sources[queries.meets][:, None] != all_keys.sources[all_keys.meets]
    negative = different.repeat_interleave(bins, dim=0).repeat_interleave(each, dim=1)
    of_moments = [
        info_nce(
            moments[:, side].flatten(0, 1),
            matching[:, 1 - side].flatten(0, 1),
            there.flatten(0, 2),
            negative,
            temperature=temperature,
        )
        for side in (0, 1)
    ]
    return torch.stack(of_regions).mean(), torch.stack(of_moments).mean()

"""A batch of snippets that share frames: each frame once, and which frames each snippet is made of."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class FrameBatch:
    """Snippets that overlap, so that a frame travels to a GPU once however many snippets need it.

    Args:
        frames: uint8 [P, H, W, channels].
        places: int64 [B, F], the frames of each snippet as places in `frames`.
    """

    frames: Tensor
    places: Tensor

    def __len__(self) -> int:
        return len(self.places)

    @property
    def dtype(self) -> torch.dtype:
        """The type of a pixel."""
        return self.frames.dtype

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the snippets, (B, F, H, W, channels)."""
        return *self.places.shape, *self.frames.shape[1:]

    def part(self, start: int, end: int) -> FrameBatch:
        """Return the snippets `start` to `end`, with the frames that lie between their first and their last one."""
        places = self.places[start:end]
        first, last = int(places.min()), int(places.max())
        return FrameBatch(self.frames[first : last + 1], places - first)

    def padded(self, size: int) -> FrameBatch:
        """Return `size` snippets: these, and then the first frame over and over."""
        padding = self.places.new_zeros((size - len(self), self.places.shape[1]))
        return FrameBatch(self.frames, torch.cat([self.places, padding]))

    def snippets(self) -> Tensor:
        """Return the snippets, uint8 [B, F, H, W, channels], where the frames are."""
        return self.frames[self.places]

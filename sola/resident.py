"""All features of a fit on the GPU, where they fit: windows are gathered there, and only their places are sent."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sola.config import Padding
from sola.device import sent
from sola.padding import rows_beyond_ends
from sola.sampling import FeatureSource, WindowBatch, Windows, rows_of

# Of the free memory; the rest is for the windows and what training computes from them.
SHARE = 0.5


@dataclass(frozen=True)
class ResidentFeatures:
    """`rows` [N, C] float32 of all videos one after the other, on the device; video v has `lengths[v]` of them."""

    rows: Tensor
    lengths: np.ndarray

    def windows(
        self, windows: Windows, positions: Sequence[int], *, window_snippets: int, padding: Padding
    ) -> WindowBatch:
        """Return what `sola.sampling.read_windows` returns for this data, with the rows on the device."""
        place = np.array(positions)
        first = np.maximum(0, -windows.firsts)
        end = np.minimum(window_snippets, self.lengths[windows.videos] - windows.firsts)
        begins = np.cumsum(self.lengths) - self.lengths
        starts = begins[windows.videos] + windows.firsts + first
        shown = np.stack(
            [
                start + rows_beyond_ends(place - begin, stop - begin, padding)
                for start, begin, stop in zip(starts, first, end, strict=True)
            ]
        )
        rows = self.rows[sent(torch.from_numpy(shown), self.rows.device)]
        batch = WindowBatch(rows, torch.from_numpy(first), torch.from_numpy(end))
        inside = batch.inside(torch.from_numpy(place))
        if padding == "zeros" and not bool(inside.all()):
            rows.masked_fill_(sent(~inside, rows.device)[:, :, None], 0)
        return batch


def load_features(source: FeatureSource, lengths: np.ndarray, channels: int, device: torch.device) -> ResidentFeatures:
    """Read all videos, one at a time, onto the device.

    Raises:
        SolaError: a video does not have C channels.
    """
    rows = torch.empty((int(lengths.sum()), channels), device=device)
    at = 0
    for index, length in enumerate(lengths.tolist()):
        # A copy: what is mapped from a file is read-only, and torch warns of that.
        rows[at : at + length] = torch.from_numpy(np.array(rows_of(source, index, 0, length, channels=channels)))
        at += length
    return ResidentFeatures(rows, lengths)


def is_worthwhile(lengths: np.ndarray, channels: int, device: torch.device, *, rows_to_read: int) -> bool:
    """Return whether the features fit onto the device, a GPU, and the fit reads more rows than there are."""
    if device.type != "cuda" or rows_to_read < lengths.sum():
        return False
    free, _ = torch.cuda.mem_get_info(device)
    return int(lengths.sum()) * channels * 4 < SHARE * free

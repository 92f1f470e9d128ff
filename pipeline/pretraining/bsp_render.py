"""The pixels of a planned clip with a boundary."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.pretraining.bsp_plan import ClipPlan

Load = Callable[[int], NDArray[np.uint8]]
"""Returns a source's small frames, uint8 [frames, h, w, 3], by its number; may be memory-mapped."""

View = Callable[[int, Tensor], Tensor]
"""Returns one source's pictures, uint8 [n, S, S, 3], of its frames, uint8 [n, h, w, 3]: crop, flip and color, the same
for all of them. The number says which of the clip's sources it is, 0 or 1."""


def render_clip(plan: ClipPlan, load: Load, view: View) -> Tensor:
    """Return the frames of a planned clip, uint8 [F, S, S, 3].

    Each source is read and viewed once, so both parts of one video share crop, flip and color.
    """
    layers = [layer for frame in plan.frames for layer in frame]
    pictures: dict[tuple[int, int], Tensor] = {}
    for number, source in enumerate(dict.fromkeys(layer.source for layer in layers)):
        places = list(dict.fromkeys(layer.frame for layer in layers if layer.source == source))
        small = torch.from_numpy(np.ascontiguousarray(load(source)[places]))
        pictures |= {(source, place): picture for place, picture in zip(places, view(number, small), strict=True)}
    shown = []
    for frame in plan.frames:
        if len(frame) == 1:
            shown.append(pictures[frame[0][:2]])
        else:
            mixed = sum(weight * pictures[source, place].float() for source, place, weight in frame)
            shown.append(torch.as_tensor(mixed).round().to(torch.uint8))
    return torch.stack(shown)

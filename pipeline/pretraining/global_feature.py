"""The global video feature (GVF) of TSP: one vector of each whole video, from the encoder before training.

Source: TSP (Alwassel et al. 2021), section 3; average pooling and none are its ablations.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from pipeline.errors import PipelineError
from pipeline.storage.atomic_files import whole_file

Pooling = Literal["max", "mean"]


def pooled(features: Iterable[Tensor], how: Pooling) -> Tensor:
    """Return the maximum or the mean over time of a video's features, float32 [C], without gradient.

    Args:
        features: parts of the sequence, each [n, C], n > 0.
    """
    rows = torch.cat([part.detach().float().cpu() for part in features])
    return rows.amax(dim=0) if how == "max" else rows.mean(dim=0)


def whole_windows(total: int, window: int, taken: Sequence[int]) -> list[list[int]]:
    """Return the cells of the windows of a whole video, one behind the other, as extraction has them.

    Args:
        total: cells of the video; behind them the last one is repeated.
        window: length of a window, in cells.
        taken: the cells of a window that the network uses.
    """
    return [[min(start + cell, total - 1) for cell in taken] for start in range(0, max(1, total), window)]


def stored_features(
    file: Path, videos: Sequence[str], facts: Mapping[str, object], feature_of: Callable[[str], Tensor]
) -> dict[str, Tensor]:
    """Return the feature of each video: from `file`, or made by `feature_of` and written to it.

    Args:
        file: safetensors, a vector for each video id; used if it was made from equal `facts` of the same videos.
        facts: what the features depend on, as JSON values.

    Raises:
        PipelineError: the file cannot be read.
    """
    text = json.dumps([facts, list(videos)], sort_keys=True)
    if (known := _read(file, videos, text)) is not None:
        return known
    made = {video: feature_of(video) for video in videos}
    with whole_file(file) as partial:
        save_file({_key(video): feature.contiguous() for video, feature in made.items()}, partial, {"facts": text})
    return made


def _key(video: str) -> str:
    return f"video {video}"  # no id must meet the file's own key __metadata__


def _read(file: Path, videos: Sequence[str], text: str) -> dict[str, Tensor] | None:
    if not file.is_file():
        return None
    try:
        with safe_open(file, framework="pt") as content:
            if (content.metadata() or {}).get("facts") != text:
                return None
            return {video: content.get_tensor(_key(video)) for video in videos}
    except SafetensorError as error:
        raise PipelineError(f"{file} cannot be read ({error}); remove it, and it is made again") from None

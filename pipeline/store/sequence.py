"""The feature sequence of one video."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np

from pipeline.errors import PipelineError
from pipeline.snippets import SnippetPlan
from pipeline.storage.location import AnyPath
from pipeline.storage.npy import read_npy
from pipeline.store.records import OriginRecord, Sidecar, VideoDetails
from pipeline.store.spec import plan_from_json

_CHUNK_ROWS = 4096


@dataclass(frozen=True, kw_only=True)
class FeatureSequence:
    """The feature sequence of one video.

    Args:
        id: the video's id.
        features: [T, C] float32 or float16; memory-mapped when it comes from a store.
        sidecar: what the store says about it; in memory only its `rows` and `duration_seconds`.
    """

    id: str
    features: np.ndarray
    sidecar: Sidecar

    @property
    def duration_seconds(self) -> float:
        return float(self.sidecar["duration_seconds"])

    @property
    def plan(self) -> SnippetPlan:
        """What row i means in this video."""
        return plan_from_json(self.sidecar["rows"])


def video_details(sidecar: Sidecar) -> VideoDetails:
    """Return what a sidecar says about its video; features made from it inherit this."""
    times = ("duration_seconds", "duration_exact", "video_fps", "start_offset_seconds")
    names = ("rows", *times, "decoder", "source", "libraries")
    given: Mapping[str, object] = sidecar
    return cast(VideoDetails, {name: given[name] for name in names if name in given})


def origin_of(sidecar: Sidecar) -> OriginRecord:
    """Return what features made from this sequence record about it, to be made again when it changes."""
    return {"array_sha256": sidecar["sha256"]}


def check_hash(array: Path, sha256: str, *, where: AnyPath) -> None:
    """Refuse an array whose values are not those of its sidecar.

    Args:
        array: a local file.
        sha256: of its values, from the sidecar.
        where: the array in its store, for the message.

    Raises:
        PipelineError: the values differ, or the file is no array.
    """
    rows = read_npy(array, what="features")
    if hashlib.sha256(np.ascontiguousarray(rows).data).hexdigest() != sha256:
        raise PipelineError(f"{where} is not the array that its sidecar describes; run `verify --deep --repair`")


def chunks_of(features: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the rows of a (memory-mapped) sequence [T, C] in blocks of 4096."""
    for start in range(0, len(features), _CHUNK_ROWS):
        yield np.array(features[start : start + _CHUNK_ROWS])

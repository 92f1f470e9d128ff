"""Feature sequences from raw videos for your own training loop, without a store.

import pipeline

for sequence in pipeline.encode_folder(["videos/"], encoder="i3d_r50"):
    loss = head(torch.from_numpy(sequence.features), sequence.duration_seconds)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from pipeline.errors import PipelineError
from pipeline.extraction.config import ExtractConfig
from pipeline.extraction.encode import Rows, encode_videos, on_all_devices, open_encoder
from pipeline.storage.location import AnyPath, location
from pipeline.store.records import Sidecar
from pipeline.store.sequence import FeatureSequence
from pipeline.store.spec import rows_as_json
from pipeline.video.events import Failed, Finished, Restarted
from pipeline.video.find import find_videos
from pipeline.video.videos import VideoFile


def encode_video(path: str | AnyPath, encoder: str = "i3d_r50", **settings: Any) -> FeatureSequence:
    """Return the feature sequence of one video, float32 [T, C], in memory.

    Args:
        path: the video file.
        encoder: as for `extract --encoder`.
        settings: any other setting of `ExtractConfig` by name (weights, stride_seconds, …).

    Raises:
        PipelineError: the video cannot be decoded; the message names the kind of failure and the reason.
        EncoderError: no such encoder or weights.
    """

    def refuse(video: VideoFile, kind: str, reason: str) -> None:
        raise PipelineError(f"{video.path}: {kind}: {reason}")

    return next(encode_folder([path], encoder, on_failure=refuse, **settings))


def encode_folder(
    inputs: Sequence[str | AnyPath],
    encoder: str = "i3d_r50",
    *,
    on_failure: Callable[[VideoFile, str, str], None] | None = None,
    **settings: Any,
) -> Iterator[FeatureSequence]:
    """Yield the feature sequences of many videos as they finish; decode the next ones meanwhile.

    Args:
        inputs: video files, folders (searched with their subfolders), text files of paths; paths or URLs.
        encoder: as for `extract --encoder`.
        on_failure: called with the video, the kind of failure and the reason; without it bad videos are skipped.
        settings: any other setting of `ExtractConfig` by name.

    Yields:
        Sequences with float32 [T, C]; `sidecar` holds `duration_seconds` and `rows` (what row i means).

    Raises:
        PipelineError, EncoderError: no videos, no such encoder, weights or device.
    """
    config = ExtractConfig(encoder=encoder, **settings)
    videos = find_videos([location(path) for path in inputs], ids=config.ids, frame_rate=config.frame_rate)
    network, spec = open_encoder(config)
    parts: dict[str, list[np.ndarray]] = {}
    for event in encode_videos(videos, on_all_devices(network, config), spec.plan, config.decoding):
        video = event.video
        if isinstance(event, Rows):
            parts.setdefault(video.id, []).append(event.features)
            continue
        rows = parts.pop(video.id, [])
        if isinstance(event, Restarted):
            continue
        if isinstance(event, Failed):
            if on_failure is not None:
                on_failure(video, event.kind, event.reason)
            continue
        assert isinstance(event, Finished), "only a CuttableVideo can be a LongVideo"
        meaning = rows_as_json(spec.plan.at(event.info.fps))
        sidecar: Sidecar = {"duration_seconds": float(event.report.duration), "rows": meaning}
        yield FeatureSequence(id=video.id, features=np.concatenate(rows), sidecar=sidecar)

"""Compare video files with a store: which are done, which have failed, which are still to do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Literal, cast

from pipeline.errors import PipelineError
from pipeline.extraction.config import Retries
from pipeline.storage.location import RemotePath, real_path
from pipeline.storage.read_files import sha256_of_file
from pipeline.storage.stamps import has_changed, size_of, stamp_of
from pipeline.store.feature_store import FeatureStore
from pipeline.store.records import SourceRecord
from pipeline.video.videos import VideoFile

_MAX_MEASURED = 2000  # videos whose sizes are read at once


@dataclass(frozen=True)
class VideoStatus:
    """The state of a video in a store.

    Args:
        state: "done"; "failed": skip it; "changed": done before, but its file has changed; "new": everything else that
            must be encoded.
        reason: "kind: reason" of a failed video.
    """

    state: Literal["done", "failed", "changed", "new"]
    reason: str = ""

    @property
    def to_do(self) -> bool:
        return self.state in ("changed", "new")


def video_status_of(video: VideoFile, store: FeatureStore, retries: Retries) -> VideoStatus:
    """Return the state of `video` in `store`: whether it must be encoded."""
    try:
        store.array_path(video.id)
    except PipelineError as error:  # the store has no place for this id, not even for its failure
        return VideoStatus("failed", f"bad_id: {error}")
    sidecar = store.sidecar(video.id)
    if sidecar is not None and differs(video, sidecar.get("source", {})) is False:
        return VideoStatus("done")
    failure = store.failure(video.id)
    if failure is not None and _is_unchanged(video, failure.get("source", {})):
        attempts, what = int(failure.get("attempts", 1)), f"{failure.get('kind')}: {failure.get('reason')}"
        if not retries.retry_failed:
            return VideoStatus("failed", f"{what} (earlier; --retry-failed tries again)")
        if attempts >= retries.max_attempts:
            return VideoStatus("failed", f"{what} ({attempts} times, the most)")
    return VideoStatus("new" if sidecar is None else "changed")


def differs(video: VideoFile, source: object) -> bool | None:
    """Return whether a video, or the rate of its pictures, differs from `source`; None if it cannot be read."""
    if isinstance(source, dict) and source.get("frame_rate") != _rate(video):
        return True
    return has_changed(video.path, source)


def _rate(video: VideoFile) -> str | None:
    return None if video.frame_rate is None else str(video.frame_rate)


def source_of(video: VideoFile) -> SourceRecord:
    """Return the identity of a video file: URL and version if it is remote; nulls if it cannot be read."""
    path = video.path
    rate = _rate(video)
    frames: SourceRecord = {} if rate is None else {"kind": "frames", "frame_rate": rate}
    try:
        if isinstance(path, RemotePath):
            entry = path.stat()
            sha256 = video.copy.sha256 if video.copy else None
            return {"path": str(path), "bytes": entry.st_size, "etag": entry.etag, "sha256": sha256}
        stamp = stamp_of(path) or (None, None)
        return {
            "path": real_path(path),
            "bytes": stamp[0],
            "modified_ns": cast("int | None", stamp[1]),  # a local file has no version
            "sha256": sha256_of_file(path),
            **frames,
        }
    except OSError:
        return {"path": str(path), "bytes": None, "modified_ns": None, "sha256": None, **frames}


def _is_unchanged(video: VideoFile, source: SourceRecord) -> bool:
    """Return whether the file is still the one that `source` describes, or still cannot be read."""
    changed = differs(video, source)
    return source.get("bytes", 0) is None if changed is None else not changed


def total_bytes(videos: Sequence[VideoFile]) -> int:
    """Estimate the bytes of all videos; measure only a sample of very many, because slow disks take long over each."""
    sample = videos if len(videos) <= _MAX_MEASURED else Random(0).sample(videos, _MAX_MEASURED)
    return round(sum(size_of(video.path) for video in sample) * len(videos) / max(1, len(sample)))

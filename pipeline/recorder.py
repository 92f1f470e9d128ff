"""From the events of the encoder to files in the store: each video is published when it is whole."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from importlib.metadata import version
from typing import Any

from pipeline.config import ExtractConfig
from pipeline.errors import PipelineError
from pipeline.features import Event, Rows
from pipeline.snippets import SnippetPlan
from pipeline.sources import source_of, stamp_of
from pipeline.spec import rows_as_json
from pipeline.store import FeatureStore, SequenceWriter
from pipeline.video.find import VideoFile
from pipeline.video.flow import library_version
from pipeline.video.pool import Failed, Finished, Restarted
from pipeline.video.report import DecodeReport


@dataclass(frozen=True)
class Outcome:
    """What became of a video: it is in the store, or recorded there as failed.

    Args:
        rows: of one that is done.
        kind: class of failure; empty for one that is done. reason: in words.
        worker: which worker of a cluster did it.
    """

    video: VideoFile
    rows: int = 0
    kind: str = ""
    reason: str = ""
    worker: str = ""


class Recorder:
    """Writes what comes out of the encoder into a store; closed, it leaves nothing half-written."""

    def __init__(self, store: FeatureStore, config: ExtractConfig) -> None:
        self._store = store
        self._config = config
        self._writers: dict[str, SequenceWriter] = {}
        self._stamps: dict[str, tuple[int, int] | None] = {}  # of the videos handed out, as they were then

    def noting(self, videos: Iterable[VideoFile]) -> Iterator[VideoFile]:
        """The videos again, for the encoder; notes what their files are like when each is asked for."""
        for video in videos:
            self.begin(video)
            yield video

    def begin(self, video: VideoFile) -> None:
        """Notes what the file of a video is like before it is read."""
        self._stamps[video.id] = stamp_of(video.path)

    def take(self, event: Event) -> Outcome | int:
        """What has become of the event's video, if that is known now; else the number of rows added."""
        video = event.video
        if video.id not in self._stamps:  # it has failed: nobody waits for its later rows and its end
            return 0
        if isinstance(event, Restarted):
            return -self._discard(video)
        if isinstance(event, Failed):
            return self._fail(video, event.kind, event.reason)
        if isinstance(event, Finished):
            return self._finish(video, event)
        assert isinstance(event, Rows), "only videos that may be cut are told of as long"
        try:
            self._writer(video).append(event.features)
        except PipelineError as error:
            return self._fail(video, "not_finite", str(error))
        return len(event.features)

    def close(self) -> None:
        """Removes what is not finished."""
        for writer in self._writers.values():
            writer.discard()

    def _finish(self, video: VideoFile, event: Finished) -> Outcome:
        if stamp_of(video.path) != self._stamps[video.id]:
            return self._fail(video, "changed", "the file was changed while it was read; the next run takes it anew")
        writer = self._writer(video)
        writer.commit(details(video, event.report, event.info.fps, self._store.spec.plan, self._config))
        del self._writers[video.id], self._stamps[video.id]
        return Outcome(video, writer.rows)

    def _writer(self, video: VideoFile) -> SequenceWriter:
        if video.id not in self._writers:
            self._writers[video.id] = self._store.writer(video.id)
        return self._writers[video.id]

    def _discard(self, video: VideoFile) -> int:
        """Removes the rows of a video; returns how many there were."""
        if video.id not in self._writers:
            return 0
        self._writers[video.id].discard()  # first: an interruption between the two must leave nothing
        return self._writers.pop(video.id).rows

    def _fail(self, video: VideoFile, kind: str, reason: str) -> Outcome:
        self._discard(video)
        self._stamps.pop(video.id, None)
        return record_failure(self._store, video, kind, reason)


def record_failure(store: FeatureStore, video: VideoFile, kind: str, reason: str) -> Outcome:
    """Writes down in the store that a video failed."""
    # Of a file that changed meanwhile nothing is known, so that the next run does not take it for the same.
    source = {"path": str(video.path.resolve())} if kind == "changed" else source_of(video.path)
    store.write_failure(video.id, kind=kind, reason=reason, source=source)
    return Outcome(video, kind=kind, reason=reason)


def details(
    video: VideoFile, report: DecodeReport, fps: Fraction, plan: SnippetPlan, config: ExtractConfig
) -> dict[str, Any]:
    """What the sidecar says of one video beyond the spec."""
    return {
        "rows": rows_as_json(plan.at(fps)),
        "duration_seconds": float(report.duration),
        "duration_exact": str(report.duration),
        "video_fps": float(fps) if fps else None,
        "decoder": {
            "backend": report.backend,
            "version": report.backend_version,
            "reason": report.backend_reason,
            "decoded_frames": report.decoded_frames,
            "corrupt_frames": report.corrupt_frames,
            "notes": list(report.notes),
        },
        "source": source_of(video.path),
        "libraries": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("torch", "torchvision", "numpy", "av")},
            **(library_version(config.flow) if config.with_flow else {}),
        },
    }

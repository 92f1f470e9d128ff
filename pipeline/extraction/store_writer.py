"""Write the encoder's events to the store; publish each video when it is complete."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache, partial
from importlib.metadata import version

from pipeline.cluster.worker import RowsAdded
from pipeline.errors import PipelineError
from pipeline.extraction.encode import Event, Rows
from pipeline.extraction.publisher import Publisher
from pipeline.extraction.video_status import differs, source_of
from pipeline.storage.location import real_path
from pipeline.storage.stamps import Stamp, stamp_of
from pipeline.store.feature_store import FeatureStore, SequenceWriter
from pipeline.store.records import SourceRecord, VideoDetails
from pipeline.store.spec import StoreSpec, rows_as_json
from pipeline.video.audio import SILENCE
from pipeline.video.events import Failed, Finished, Restarted
from pipeline.video.flow import library_version
from pipeline.video.report import DecodeReport
from pipeline.video.videos import VideoFile


@dataclass(frozen=True)
class Outcome:
    """How a video ended: it is in the store, or recorded there as failed.

    Args:
        rows: number of rows in the store; 0 for a failed video.
        kind: kind of failure; empty for success.
        reason: reason of the failure, in words.
        notes: what is odd about the video, in words; its sidecar has them too.
        worker: worker of a cluster that did it, or how the last worker died over it; for the log.
    """

    video: VideoFile
    rows: int = 0
    kind: str = ""
    reason: str = ""
    notes: tuple[str, ...] = ()
    worker: str = ""


class StoreWriter:
    """Writes rows from the encoder into a store and publishes finished videos while the next ones are made.

    A context manager: at its end no half-written file is left, and started publications are complete.
    """

    def __init__(self, store: FeatureStore) -> None:
        self._store = store
        self._publisher = Publisher()
        self._writers: dict[str, SequenceWriter] = {}
        self._stamps: dict[str, Stamp | None] = {}  # of the files of videos that have begun
        self._attempts: dict[str, int] = {}  # for videos whose attempts another process counts
        self._notes: dict[str, tuple[str, ...]] = {}  # of videos that are being published

    def __enter__(self) -> StoreWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self._publisher.close()
        for writer in self._writers.values():
            writer.discard()

    def noting(self, videos: Iterable[VideoFile]) -> Iterator[VideoFile]:
        """Pass videos on to the encoder; begin each when the encoder asks for it."""
        for video in videos:
            self.begin(video)
            yield video

    def begin(self, video: VideoFile, *, attempt: int | None = None) -> None:
        """Note size and time of a video's file before it is read, and the number of the attempt."""
        if attempt is not None:
            self._attempts[video.id] = attempt
        self._stamps[video.id] = stamp_of(video.path)

    def take(self, event: Event) -> Iterator[Outcome | RowsAdded]:
        """Take an event; yield the rows it adds, and the outcomes of videos that are published by now."""
        video = event.video
        if video.id not in self._stamps:  # it has failed; ignore its later rows and its end
            return
        if isinstance(event, Restarted):
            yield RowsAdded(-self._discard(video))
        elif isinstance(event, Failed):
            yield self._fail(video, event.kind, event.reason)
        elif isinstance(event, Finished):
            self._notes[video.id] = event.report.notes
            self._publisher.submit(video, partial(self._publish, event, self._writer(video)))
        else:
            assert isinstance(event, Rows), "only a CuttableVideo can be a LongVideo"
            try:
                self._writer(video).append(event.features)
                yield RowsAdded(len(event.features))
            except PipelineError as error:
                yield self._fail(video, "not_finite", str(error))
        yield from self._outcomes_of(self._publisher.published())

    def finish(self) -> Iterator[Outcome]:
        """Wait for the remaining publications; yield their outcomes."""
        yield from self._outcomes_of(self._publisher.all())

    def _outcomes_of(self, published: Iterator[tuple[VideoFile, bool]]) -> Iterator[Outcome]:
        for video, unchanged in published:
            notes = self._notes.pop(video.id)
            if unchanged:
                del self._stamps[video.id]
                yield Outcome(video, self._writers.pop(video.id).rows, notes=notes)
            else:
                reason = "the file was changed while it was read; the next run takes it anew"
                yield self._fail(video, "changed", reason)

    def _publish(self, event: Finished, writer: SequenceWriter) -> bool:
        """Publish a sequence, in a thread of the publisher; return False if the video's file has changed."""
        video = event.video
        about = details(video, event.report, event.info.fps, self._store.spec)  # hashes the file
        if stamp_of(video.path, now=True) != self._stamps[video.id]:
            return False
        writer.commit(about)
        return True

    def _writer(self, video: VideoFile) -> SequenceWriter:
        if video.id not in self._writers:
            self._writers[video.id] = self._store.writer(video.id)
        return self._writers[video.id]

    def _discard(self, video: VideoFile) -> int:
        """Remove the rows of a video; return their number."""
        if video.id not in self._writers:
            return 0
        self._writers[video.id].discard()  # first: an interruption between the two must leave nothing
        return self._writers.pop(video.id).rows

    def _fail(self, video: VideoFile, kind: str, reason: str) -> Outcome:
        self._discard(video)
        self._stamps.pop(video.id, None)
        return record_failure(self._store, video, kind, reason, attempt=self._attempts.get(video.id))


def record_failure(
    store: FeatureStore, video: VideoFile, kind: str, reason: str, *, attempt: int | None = None
) -> Outcome:
    """Record in the store that a video failed; remove rows of an earlier version of its file."""
    if (removed := remove_outdated(store, video)) is False:
        reason += "; its features stay, because it is unknown whether the file has changed"
        return Outcome(video, kind=kind, reason=reason)
    # Store no identity for a file that changed while it was read, so that the next run tries it again.
    source: SourceRecord = {"path": real_path(video.path)} if kind == "changed" else source_of(video)
    store.write_failure(video.id, kind=kind, reason=reason, source=source, attempt=attempt)
    return Outcome(video, kind=kind, reason=f"{reason}{REMOVED if removed else ''}")


REMOVED = "; its features, of the file as it was before, were removed"


def remove_outdated(store: FeatureStore, video: VideoFile) -> bool | None:
    """Remove the rows of a video that cannot be made again, if its file has changed since.

    Returns:
        Whether rows were removed; None if there were none.
    """
    if not store.sidecar_path(video.id).exists():
        return None
    sidecar = store.sidecar(video.id)
    if sidecar is not None and not differs(video, sidecar.get("source", {})):
        return False
    store.remove(video.id)
    return True


def is_silent(notes: Iterable[str]) -> bool:
    """Return whether a video that was to give audio has none, as its notes say."""
    return any(note.endswith(SILENCE) for note in notes)


def details(video: VideoFile, report: DecodeReport, fps: Fraction, spec: StoreSpec) -> VideoDetails:
    """Return what the sidecar says about one video, beyond the spec."""
    return {
        "rows": rows_as_json(spec.plan.at(fps)),
        "duration_seconds": float(report.duration),
        "duration_exact": str(report.duration),
        "video_fps": float(fps) if fps else None,
        "start_offset_seconds": float(report.start_offset),
        "decoder": {
            "backend": report.backend,
            "version": report.backend_version,
            "reason": report.backend_reason,
            "decoded_frames": report.decoded_frames,
            "corrupt_frames": report.corrupt_frames,
            "notes": list(report.notes),
        },
        "source": source_of(video),
        "libraries": {**_libraries(), **(library_version(spec.encoder["flow"]["method"]) if spec.plan.flow else {})},
    }


@lru_cache(maxsize=1)  # each look-up of a version takes milliseconds
def _libraries() -> dict[str, str]:
    names = ("torch", "torchvision", "numpy", "av")
    return {"python": platform.python_version(), **{name: version(name) for name in names}}

"""Stage: raw videos → feature store.

Each video is decoded and encoded once and published when it is whole. Running the stage again goes on where it
was: videos that are done are skipped, those whose file has changed are made again.
"""

from __future__ import annotations

import platform
import random
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from functools import lru_cache, partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pipeline.config import ExtractConfig
from pipeline.errors import PipelineError
from pipeline.features import Event, encode_videos, open_encoder
from pipeline.files import this_process
from pipeline.progress import Report, silent
from pipeline.publishing import Publisher
from pipeline.runlog import RunLog
from pipeline.snippets import SnippetPlan
from pipeline.sources import size_of, source_of, stamp_of, standing_of, total_bytes
from pipeline.spec import rows_as_json
from pipeline.store import FeatureStore, SequenceWriter
from pipeline.video.find import VideoFile, find_videos
from pipeline.video.flow import library_version
from pipeline.video.pool import Failed, Finished, Restarted


@dataclass
class ExtractSummary:
    """What became of each video.

    Args:
        done: ids of the videos that were encoded now.
        skipped: number of videos that were done before.
        changed: ids of videos that were done before but whose file has changed since; they were made again.
        failed: id → "kind: reason" of the videos that failed, now or earlier.
        snippets: number of rows written now.
        notes: what the user should know about the encoder.
    """

    done: list[str] = field(default_factory=list)
    skipped: int = 0
    changed: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    snippets: int = 0
    notes: list[str] = field(default_factory=list)

    def text(self) -> str:
        """One line of counts."""
        again = f" ({len(self.changed)} again, their files have changed)" if self.changed else ""
        counts = f"{len(self.done)} videos done{again}, {self.skipped} were done before, {len(self.failed)} failed"
        kinds = Counter(reason.split(":")[0] for reason in self.failed.values())
        by_kind = f" ({', '.join(f'{kind} {count}' for kind, count in kinds.most_common())})" if kinds else ""
        return f"{counts}{by_kind}; {self.snippets} snippets"


def extract(
    inputs: Sequence[Path], out: Path, config: ExtractConfig, *, report: Report = silent
) -> tuple[FeatureStore, ExtractSummary]:
    """Encodes videos into the feature store ``out``.

    Args:
        inputs: video files, folders (searched below), text files of paths.
        report: told after each batch the share of the work that is done, 0 to 1, by bytes of video.

    Returns:
        The store, and what became of each video; a video that fails costs only itself.

    Raises:
        PipelineError, EncoderError: the job as a whole cannot be done (no videos, no weights, another store, …).
    """
    videos = [video for video in find_videos(inputs, ids=config.ids) if config.is_mine(video.id)]
    encoder, spec = open_encoder(config)
    store = FeatureStore.create(out, spec)
    summary = ExtractSummary(notes=list(encoder.notes))
    if encoder.weights.random:
        summary.notes.append("weights are random: the features are for trials only, and the store says so")
    job = _Job(store, summary, videos, config, report=report)
    todo = (video for video in job.ordered(videos) if job.must_do(video))
    job.run(encode_videos(todo, encoder, spec.plan, config, on_pictures=job.on_pictures))
    return store, summary


class _Job:
    """One run of the stage: which videos are in progress, and what became of the others."""

    def __init__(
        self,
        store: FeatureStore,
        summary: ExtractSummary,
        videos: Sequence[VideoFile],
        config: ExtractConfig,
        *,
        report: Report,
    ) -> None:
        self._store = store
        self._summary = summary
        self._config = config
        self._log = RunLog(store.path / "logs")
        self._report = report
        self._writers: dict[str, SequenceWriter] = {}
        self._publisher = Publisher()
        # Videos differ in length: their bytes tell better than their number how much is left.
        self._videos = len(videos)
        self._bytes = total_bytes(videos)
        self._bytes_done = self._bytes_skipped = 0
        self._started = time.monotonic()
        self._pictures = 0  # that have got their flow
        self._stamps: dict[str, tuple[int, int] | None] = {}  # of the videos handed out, as they were then
        given = {"videos": self._videos, "bytes": self._bytes, "settings": asdict(config)}
        self._log.write("start", process=this_process(), **given)

    def must_do(self, video: VideoFile) -> bool:
        """Whether ``video`` is still to be encoded; notes it in the summary if not."""
        standing = standing_of(video, self._store, self._config)
        if standing.to_do:
            if standing.state == "changed":
                self._summary.changed.append(video.id)
            self._stamps[video.id] = stamp_of(video.path)
            return True
        if standing.state == "done":
            self._summary.skipped += 1
        else:
            self._summary.failed[video.id] = standing.reason
        self._bytes_skipped += self._tell(video)
        return False

    def ordered(self, videos: Sequence[VideoFile]) -> Sequence[VideoFile]:
        """The videos in the order in which they are done: as they come, but from a place of its own for each of several
        processes at work on the store, so that they seldom do the same video at the same time."""
        if not videos or not self._log.others_at_work():
            return videos
        start = random.SystemRandom().randrange(len(videos))
        return [*videos[start:], *videos[:start]]

    def on_pictures(self, count: int) -> None:
        """Takes note that flow has been estimated for ``count`` more frames."""
        self._pictures += count
        self._tell()

    def run(self, events: Iterator[Event]) -> None:
        """Writes the events of the encoder to the store; whatever ends the job, no half-written file is left."""
        end = "interrupted"
        try:
            for event in events:
                self._take(event)
                self._note_published(self._publisher.published())
            self._note_published(self._publisher.all())
            end = "end"
        finally:
            with suppress(OSError):  # finished is finished, whatever ends the job
                self._note_published(self._publisher.close())
            for writer in self._writers.values():
                writer.discard()
            with suppress(OSError):  # on a full disk the error that ended the job is the one to tell
                self._log.write(end, **self._sums(self._summary.snippets))

    def _take(self, event: Event) -> None:
        video = event.video
        if video.id in self._summary.failed:  # its later rows and its end: nobody waits for them
            return
        if isinstance(event, Restarted):
            self._discard(video)
        elif isinstance(event, Failed):
            self._fail(video, event.kind, event.reason)
        elif isinstance(event, Finished):
            self._publisher.submit(video, partial(self._publish, event, self._writer(video)))
        else:
            try:
                self._writer(video).append(event.features)
            except PipelineError as error:
                self._fail(video, "not_finite", str(error))
                return
            self._tell()

    def _publish(self, event: Finished, writer: SequenceWriter) -> bool:
        """Publishes a sequence, in a thread of the publisher; False: its file is not what it was."""
        video = event.video
        details = _details(video, event, self._store.spec.plan, self._config)  # which hashes the file
        if stamp_of(video.path) != self._stamps[video.id]:
            return False
        writer.commit(details)
        return True

    def _note_published(self, published: Iterator[tuple[VideoFile, bool]]) -> None:
        for video, unchanged in published:
            if not unchanged:
                self._fail(video, "changed", "the file was changed while it was read; the next run takes it anew")
                continue
            size, _ = self._stamps.pop(video.id) or (0, 0)
            writer = self._writers.pop(video.id)
            self._summary.done.append(video.id)
            self._summary.snippets += writer.rows
            self._log.write("done", id=video.id, path=str(video.path), snippets=writer.rows, bytes=size)
            self._tell(video)

    def _writer(self, video: VideoFile) -> SequenceWriter:
        if video.id not in self._writers:
            self._writers[video.id] = self._store.writer(video.id)
        return self._writers[video.id]

    def _discard(self, video: VideoFile) -> None:
        if video.id in self._writers:
            self._writers[video.id].discard()  # first: an interruption between the two must leave nothing
            del self._writers[video.id]

    def _fail(self, video: VideoFile, kind: str, reason: str) -> None:
        self._discard(video)
        size, _ = self._stamps.pop(video.id, None) or (0, 0)
        # Of a file that changed meanwhile nothing is known, so that the next run does not take it for the same.
        source = {"path": str(video.path.resolve())} if kind == "changed" else source_of(video.path)
        self._store.write_failure(video.id, kind=kind, reason=reason, source=source)
        self._summary.failed[video.id] = f"{kind}: {reason}"
        self._log.write("failed", id=video.id, path=str(video.path), kind=kind, reason=reason, bytes=size)
        self._tell(video)

    def _sums(self, snippets: int) -> dict[str, int]:
        s = self._summary
        sums = {"done": len(s.done), "skipped": s.skipped, "failed": len(s.failed), "snippets": snippets}
        return {**sums, "bytes": self._bytes_done, "bytes_skipped": self._bytes_skipped}

    def _tell(self, ended: VideoFile | None = None) -> int:
        """Reports the state of the job; the bytes of the video that has ended."""
        size = size_of(ended.path) if ended else 0
        self._bytes_done += size
        s = self._summary
        ended_videos = len(s.done) + s.skipped + len(s.failed)
        share = self._bytes_done / max(1, self._bytes)
        snippets = s.snippets + sum(writer.rows for writer in self._writers.values())
        self._log.write_progress(**self._sums(snippets))
        seconds = max(1e-9, time.monotonic() - self._started)
        text = f"{ended_videos}/{self._videos} videos, {snippets} snippets, {snippets / seconds:.1f} a second"
        if self._pictures:
            text += f", {self._pictures} flow fields, {self._pictures / seconds:.1f} a second"
        self._report(min(1.0, share), text)
        return size


def _details(video: VideoFile, event: Finished, plan: SnippetPlan, config: ExtractConfig) -> dict[str, Any]:
    """What the sidecar says of one video beyond the spec."""
    report, info = event.report, event.info
    return {
        "rows": rows_as_json(plan.at(info.fps)),
        "duration_seconds": float(report.duration),
        "duration_exact": str(report.duration),
        "video_fps": float(info.fps) if info.fps else None,
        "decoder": {
            "backend": report.backend,
            "version": report.backend_version,
            "reason": report.backend_reason,
            "decoded_frames": report.decoded_frames,
            "corrupt_frames": report.corrupt_frames,
            "notes": list(report.notes),
        },
        "source": source_of(video.path),
        "libraries": {**_libraries(), **(library_version(config.flow) if config.with_flow else {})},
    }


@lru_cache(maxsize=1)  # looking a version up takes milliseconds
def _libraries() -> dict[str, str]:
    names = ("torch", "torchvision", "numpy", "av")
    return {"python": platform.python_version(), **{name: version(name) for name in names}}

"""Stage: raw videos → feature store.

Each video is decoded and encoded once, and published when it is whole. Run again, the stage continues: it skips videos
that are done, and redoes those whose file has changed.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import asdict, dataclass, field
from typing import Any

from pipeline.cluster.worker import RowsAdded
from pipeline.errors import StorageError
from pipeline.extraction.config import Decoding, ExtractConfig
from pipeline.extraction.encode import encode_videos, on_all_devices, open_encoder
from pipeline.extraction.encoders import AnyEncoder
from pipeline.extraction.ray_driver import workers
from pipeline.extraction.ray_worker import About
from pipeline.extraction.run_log import RunLog
from pipeline.extraction.store_writer import REMOVED, Outcome, StoreWriter, is_silent, remove_outdated
from pipeline.extraction.video_status import total_bytes, video_status_of
from pipeline.progress import Report, silent
from pipeline.storage.local import work_folder
from pipeline.storage.location import AnyPath, RemotePath
from pipeline.storage.stamps import size_of
from pipeline.storage.temporary_names import this_process
from pipeline.store.feature_store import FeatureStore
from pipeline.text.plain import counted
from pipeline.video.find import find_videos
from pipeline.video.videos import VideoFile, VideoList

_SHOWN_ODD = 5
Outcomes = Generator[Outcome | RowsAdded, None, None]


@dataclass
class ExtractSummary:
    """The result for each video.

    Args:
        done: number of videos encoded now.
        skipped: number of videos done before.
        changed: number of videos encoded again, since their file has changed; `done` includes them.
        failed: id → "kind: reason" of the videos that failed, now or earlier.
        snippets: number of rows written now.
        silent: number of videos encoded now that have no audio, though rows of it were asked for.
        odd: id → what is odd about a video encoded now, such as frames without a time.
        notes: for the user, on the encoder.
    """

    done: int = 0
    skipped: int = 0
    changed: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    snippets: int = 0
    silent: int = 0
    odd: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def odd_lines(self) -> Iterator[str]:
        """Yield a line for each of the first odd videos, and one for the others."""
        for video_id in sorted(self.odd)[:_SHOWN_ODD]:
            yield f"{video_id}: {self.odd[video_id]}"
        if len(self.odd) > _SHOWN_ODD:
            more = counted(len(self.odd) - _SHOWN_ODD, "more video", "has", "have")
            yield f"{more} such notes: see decoder.notes in the JSON files beside the features"

    def text(self) -> str:
        """Return one line of counts."""
        again = f" ({self.changed} again, their files have changed)" if self.changed else ""
        done = counted(self.done, "video")
        counts = f"{done} done{again}, {self.skipped} were done before, {len(self.failed)} failed"
        kinds = Counter(reason.split(":")[0] for reason in self.failed.values())
        by_kind = f" ({', '.join(f'{kind} {count}' for kind, count in kinds.most_common())})" if kinds else ""
        no_audio = f"; {counted(self.silent, 'video')} without audio, whose rows are silence" if self.silent else ""
        return f"{counts}{by_kind}; {counted(self.snippets, 'snippet')}{no_audio}"


def extract(
    inputs: Sequence[AnyPath], out: AnyPath, config: ExtractConfig, *, report: Report = silent
) -> tuple[FeatureStore, ExtractSummary]:
    """Encode videos into the feature store `out`.

    Args:
        inputs: video files, folders (with their subfolders), text files of paths; local or remote. `out` may be remote
            too.
        report: gets the share of the work that is done, 0 to 1, by bytes of video, after each batch.

    Returns:
        The store, and the result for each video; a video that fails does not stop the others.

    Raises:
        PipelineError, EncoderError: the whole job cannot be done (no videos, no weights, another store, …).
    """
    videos = find_videos(inputs, ids=config.ids, frame_rate=config.frame_rate)
    if config.part()[1] > 1:
        videos = videos.only(config.is_mine)
    if config.execution.executor == "ray":
        with workers(out, config, videos=len(videos)) as theirs:
            job = _begin(out, theirs.about, videos, config, report)
            job.run(theirs.outcomes(job.todo(), job.store))
    else:
        encoder, spec = open_encoder(config)
        job = _begin(out, About(spec, tuple(encoder.notes), encoder.weights.random), videos, config, report)
        encoders = on_all_devices(encoder, config)
        job.run(_recorded(job.todo(), job.store, encoders, config.decoding, job.on_pictures))
    return job.store, job.summary


def _begin(out: AnyPath, about: About, videos: VideoList, config: ExtractConfig, report: Report) -> _Job:
    summary = ExtractSummary(notes=list(about.notes))
    if about.random:
        summary.notes.append("weights are random: the features are for trials only, and the store says so")
    return _Job(FeatureStore.create(out, about.spec), summary, videos, config, report=report)


class _Job:
    """One run of the stage: it selects the videos to do, and records and reports the results."""

    def __init__(
        self, store: FeatureStore, summary: ExtractSummary, videos: VideoList, config: ExtractConfig, *, report: Report
    ) -> None:
        self.store = store
        self.summary = summary
        self._retries = config.retries
        self._videos = videos
        logs = store.path / "logs"
        # A remote log cannot grow: it is written here, and uploaded at the end.
        self._log = RunLog(work_folder(logs) if isinstance(logs, RemotePath) else logs)
        self._report = report
        # Videos differ in length: their bytes measure the remaining work better than their number.
        self._bytes = total_bytes(videos)
        self._bytes_done = self._bytes_skipped = 0
        self._started = time.monotonic()
        self._changed: set[str] = set()  # ids of videos to encode again
        self._rows_begun = 0
        self._pictures = 0  # frames whose flow has been estimated
        given = {"videos": len(videos), "bytes": self._bytes, "settings": asdict(config)}
        self._log.write("start", process=this_process(), **given)

    def todo(self) -> Iterator[VideoFile]:
        """Return the videos that are still to be encoded."""
        start = self._place_to_start()
        self.store.prefetch(video.id for video in self._videos.beginning_at(start))
        return (video for video in self._videos.beginning_at(start) if self.must_do(video))

    def must_do(self, video: VideoFile) -> bool:
        """Return whether `video` is still to be encoded; if not, count it in the summary."""
        status = video_status_of(video, self.store, self._retries)
        if status.to_do and self.store.refresh(video.id):  # another machine may have finished it meanwhile
            status = video_status_of(video, self.store, self._retries)
        if status.to_do:
            if status.state == "changed":
                self._changed.add(video.id)
            return True
        if status.state == "done":
            self.summary.skipped += 1
        else:
            self.summary.failed[video.id] = status.reason
            if not status.reason.startswith("bad_id") and remove_outdated(self.store, video):
                self.summary.failed[video.id] += REMOVED  # features that an older version kept
        self._bytes_skipped += self._tell(video)
        return False

    def _place_to_start(self) -> int:
        """Return the place in the list where this process begins.

        It is 0, or random if other processes work on the store, so that they seldom do the same video at the same time.
        Other processes on a remote store cannot be seen; so they are assumed.
        """
        if self._videos and (self.store.is_remote or self._log.others_at_work()):
            return random.SystemRandom().randrange(len(self._videos))
        return 0

    def on_pictures(self, count: int) -> None:
        """Count `count` more frames whose flow has been estimated."""
        self._pictures += count
        self._tell()

    def run(self, outcomes: Outcomes) -> None:
        """Record the results of videos, and count rows as they are made."""
        end = "interrupted"
        try:
            with closing(outcomes):
                for outcome in outcomes:
                    self._take(outcome)
            end = "end"
        finally:
            with suppress(OSError, StorageError):  # on a full disk, raise the error that ended the job
                self._log.write(end, **self._sums(self.summary.snippets))
                if isinstance(logs := self.store.path / "logs", RemotePath):
                    (logs / self._log.path.name).upload(self._log.path)
                    self._log.path.unlink()

    def _take(self, outcome: Outcome | RowsAdded) -> None:
        if isinstance(outcome, RowsAdded):
            self._rows_begun += outcome.count
            self._tell()
            return
        video = outcome.video
        about: dict[str, Any] = {"id": video.id, "path": str(video.path), "bytes": size_of(video.path)}
        if outcome.worker:
            about["worker"] = outcome.worker
        if outcome.kind:
            self.summary.failed[video.id] = f"{outcome.kind}: {outcome.reason}"
            self._log.write("failed", **about, kind=outcome.kind, reason=outcome.reason)
        else:
            self.summary.done += 1
            self.summary.changed += video.id in self._changed
            self.summary.snippets += outcome.rows
            self.summary.silent += is_silent(outcome.notes)
            if odd := [note for note in outcome.notes if not is_silent([note])]:
                self.summary.odd[video.id] = "; ".join(odd)
            self._log.write("done", **about, snippets=outcome.rows)
        self._tell(video)

    def _sums(self, snippets: int) -> dict[str, int]:
        s = self.summary
        sums = {"done": s.done, "skipped": s.skipped, "failed": len(s.failed), "snippets": snippets}
        return {**sums, "bytes": self._bytes_done, "bytes_skipped": self._bytes_skipped}

    def _tell(self, ended: VideoFile | None = None) -> int:
        """Report the progress of the job; return the bytes of the video that has ended."""
        size = size_of(ended.path) if ended else 0
        self._bytes_done += size
        s = self.summary
        ended_videos = s.done + s.skipped + len(s.failed)
        share = self._bytes_done / max(1, self._bytes)
        self._log.write_progress(**self._sums(self._rows_begun))
        seconds = max(1e-9, time.monotonic() - self._started)
        text = f"{ended_videos}/{len(self._videos)} videos, {self._rows_begun} snippets, "
        text += f"{self._rows_begun / seconds:.1f} a second"
        if self._pictures:
            text += f", {self._pictures} flow fields, {self._pictures / seconds:.1f} a second"
        self._report(min(1.0, share), text)
        return size


def _recorded(
    videos: Iterator[VideoFile],
    store: FeatureStore,
    encoders: Sequence[AnyEncoder],
    decoding: Decoding,
    on_pictures: Callable[[int], None],
) -> Outcomes:
    """Encode and write videos in this process; yield the result of each."""
    with StoreWriter(store) as writer:
        noted = writer.noting(videos)
        for event in encode_videos(noted, encoders, store.spec.plan, decoding, on_pictures=on_pictures):
            yield from writer.take(event)
        yield from writer.finish()

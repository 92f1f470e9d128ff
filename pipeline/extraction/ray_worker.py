"""The worker's side of extraction: the work of `extract` on one machine, with a stream of jobs instead of a folder."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass, replace

import torch

from pipeline.cluster.worker import JobResult, Ready, RowsAdded
from pipeline.extraction.config import ExtractConfig
from pipeline.extraction.encode import Decoded, decode_limits, encode_videos, open_encoder
from pipeline.extraction.encoders import AnyEncoder, flow_settings
from pipeline.extraction.ray_decoders import DecodeSettings, RemoteDecoders
from pipeline.extraction.ray_parts import PartFailed, PartWriter, UnfitError, join
from pipeline.extraction.store_writer import Outcome, StoreWriter
from pipeline.storage.location import AnyPath
from pipeline.store.feature_store import FeatureStore
from pipeline.store.spec import StoreSpec
from pipeline.video.pool import Finished, LongVideo
from pipeline.video.ranges import VideoRange
from pipeline.video.videos import VideoFile


@dataclass(frozen=True)
class About:
    """The features that a worker makes.

    Args:
        spec: spec of the features.
        notes: what the user should know about the encoder.
        random: whether the encoder's weights are random.
    """

    spec: StoreSpec
    notes: tuple[str, ...]
    random: bool


@dataclass(frozen=True)
class Encode:
    """A job: encode a video, or a range of one, into the store.

    Its result is an Outcome, or a LongVideo for a video that will be cut; for a range PartWritten or PartFailed.

    Args:
        attempt: number of the attempt at this video. If a worker records a failure and dies, the next worker must not
            count the same attempt again.
    """

    video: VideoFile
    attempt: int | None = None

    @property
    def key(self) -> str:
        return self.video.id


@dataclass(frozen=True)
class Join:
    """A job: join the ranges of a video into one sequence. Its result is an Outcome or a PartFailed."""

    video: VideoFile
    parts: tuple[VideoRange, ...]

    @property
    def key(self) -> str:
        return f"{self.video.id}\0join"


def open_extraction(out: AnyPath, config: ExtractConfig, cores: int) -> Ready:
    """Load the encoder; return the work of a worker on `cores` cores: videos into the store `out`."""
    torch.set_num_threads(cores)
    config = replace(config, workers=config.workers or max(1, cores - 1))
    encoder, spec = open_encoder(config)
    decode = _decoders(config, encoder, spec) if config.execution.ray_decoders else None

    def work(jobs: Iterator[Encode | Join]) -> Generator[JobResult | RowsAdded, None, None]:
        store = FeatureStore.open(out)
        parts = PartWriter(store)
        with StoreWriter(store, config) as writer:
            videos = _Videos(jobs, writer, parts, store, config)
            for event in encode_videos(videos, encoder, spec.plan, config, cores=cores, decode=decode):
                yield from videos.joined()
                video = event.video
                if isinstance(event, LongVideo):
                    yield JobResult(video.id, event)
                    continue
                if isinstance(video, VideoRange):
                    taken = parts.take(event)
                    yield taken if isinstance(taken, RowsAdded) else JobResult(video.id, taken)
                    continue
                yield from map(_as_job_result, writer.take(event))
                if isinstance(event, Finished):  # at once: the driver waits for it
                    yield from map(_as_job_result, writer.finish())
            yield from videos.joined()

    return Ready(About(spec, tuple(encoder.notes), encoder.weights.random), work)


def _as_job_result(outcome: Outcome | RowsAdded) -> JobResult | RowsAdded:
    return outcome if isinstance(outcome, RowsAdded) else JobResult(outcome.video.id, outcome)


def _decoders(
    config: ExtractConfig, encoder: AnyEncoder, spec: StoreSpec
) -> Callable[[Iterable[VideoFile]], Iterator[Decoded]]:
    """Start decoders elsewhere for this worker; return their `decode`."""
    flow = flow_settings(config, torch.device("cpu"), threads=1) if spec.plan.flow else None
    settings = DecodeSettings(encoder.spec, spec.plan, config.decoder, decode_limits(config), flow)
    return RemoteDecoders(config.execution.ray_decoders or 1, settings).decode


class _Videos:
    """The videos and ranges among the jobs; runs the joins between them.

    An iterator class, because a generator cannot continue after it has stopped once.
    """

    def __init__(
        self,
        jobs: Iterator[Encode | Join],
        writer: StoreWriter,
        parts: PartWriter,
        store: FeatureStore,
        config: ExtractConfig,
    ) -> None:
        self._jobs = jobs
        self._writer = writer
        self._parts = parts
        self._store = store
        self._config = config
        self._joined: deque[JobResult] = deque()

    def __iter__(self) -> Iterator[VideoFile]:
        return self

    def __next__(self) -> VideoFile:
        while isinstance(job := next(self._jobs), Join):
            self._joined.append(JobResult(job.key, self._join(job)))
        if isinstance(job.video, VideoRange):
            self._parts.begin(job.video)
        else:
            self._writer.begin(job.video, attempt=job.attempt)
        return job.video

    def joined(self) -> Iterator[JobResult]:
        """Yield the results of joins since the last call."""
        while self._joined:
            yield self._joined.popleft()

    def _join(self, job: Join) -> Outcome | PartFailed:
        try:
            return join(self._store, job.video, job.parts, self._config)
        except UnfitError as error:
            return PartFailed(str(error))

"""The worker's side of extraction: the work of `extract` on one machine, with a stream of jobs instead of a folder."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace

import torch

from pipeline.cluster.worker import JobResult, Ready, RowsAdded
from pipeline.extraction.config import Decoding, ExtractConfig
from pipeline.extraction.encode import encode_events, encode_videos, on_all_devices, open_encoder
from pipeline.extraction.encoders import AnyEncoder, audio_settings, flow_settings
from pipeline.extraction.ray_decoders import RemoteDecoders
from pipeline.extraction.ray_parts import PartFailed, PartWriter, UnfitError, join
from pipeline.extraction.store_writer import Outcome, StoreWriter
from pipeline.storage.location import AnyPath
from pipeline.store.feature_store import FeatureStore
from pipeline.store.spec import StoreSpec
from pipeline.video.decode_settings import DecodeSettings
from pipeline.video.events import Finished, LongVideo
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
    encoders = on_all_devices(encoder, config)
    decoders = config.execution.ray_decoders
    elsewhere = _decoders(decoders, config.decoding, encoder, spec) if decoders else None

    def work(jobs: Iterator[Encode | Join]) -> Generator[JobResult | RowsAdded, None, None]:
        store = FeatureStore.open(out)
        parts = PartWriter(store)
        with StoreWriter(store) as writer:
            videos = _Videos(jobs, writer, parts, store)
            if elsewhere:
                events = encode_events(elsewhere.decode(videos), encoders)
            else:
                events = encode_videos(videos, encoders, spec.plan, config.decoding, cores=cores)
            for event in events:
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


def _decoders(count: int, decoding: Decoding, encoder: AnyEncoder, spec: StoreSpec) -> RemoteDecoders:
    """Start decoders elsewhere for this worker."""
    flow = flow_settings(decoding, torch.device("cpu"), threads=1) if spec.plan.flow else None
    audio = audio_settings(encoder)
    settings = DecodeSettings(encoder.spec, spec.plan, decoding.decoder, decoding.limits, flow, audio)
    return RemoteDecoders(count, settings)


class _Videos:
    """The videos and ranges among the jobs; runs the joins between them.

    An iterator class, because a generator cannot continue after it has stopped once.
    """

    def __init__(
        self, jobs: Iterator[Encode | Join], writer: StoreWriter, parts: PartWriter, store: FeatureStore
    ) -> None:
        self._jobs = jobs
        self._writer = writer
        self._parts = parts
        self._store = store
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
            return join(self._store, job.video, job.parts)
        except UnfitError as error:
            return PartFailed(str(error))

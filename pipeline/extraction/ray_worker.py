"""The worker's side of extraction: what `extract` does on one machine, with a stream of jobs in place of a folder."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass, replace

import torch

from pipeline.cluster.worker import JobResult, Ready
from pipeline.extraction.config import ExtractConfig
from pipeline.extraction.encode import Decoded, decode_limits, encode_videos, open_encoder
from pipeline.extraction.encoders import AnyEncoder, flow_settings
from pipeline.extraction.ray_decoders import DecodeSettings, RemoteDecoders
from pipeline.extraction.ray_parts import PartRecorder, UnfitError, join
from pipeline.extraction.store_writer import Outcome, StoreWriter
from pipeline.storage.location import AnyPath
from pipeline.store.feature_store import FeatureStore
from pipeline.store.spec import StoreSpec
from pipeline.video.pool import Finished, Long
from pipeline.video.ranges import VideoRange
from pipeline.video.videos import VideoFile


@dataclass(frozen=True)
class About:
    """What a worker says of itself.

    Args:
        spec: of the features that it makes.
        notes: what the user should know about its encoder.
        random: whether that one's weights are random.
    """

    spec: StoreSpec
    notes: tuple[str, ...]
    random: bool


@dataclass(frozen=True)
class Encode:
    """The job: a video, from its file to the store, or a range of one. It ends with an Outcome, or, of a video that is
    to be cut, with Long; of a range with the reason why it cannot be had, or "" when it is there.

    Args:
        attempt: which one at this video it is. A worker that dies after it has recorded a failure leaves the video to
            another: that is not one more.
    """

    video: VideoFile
    attempt: int | None = None

    @property
    def key(self) -> str:
        return self.video.id


@dataclass(frozen=True)
class Join:
    """The job: to make one sequence of the ranges of a video. It ends with an Outcome, or with the reason, in words,
    why the video must be done as a whole."""

    video: VideoFile
    parts: tuple[VideoRange, ...]

    @property
    def key(self) -> str:
        return f"{self.video.id}\0join"


def open_extraction(out: AnyPath, config: ExtractConfig, cores: int) -> Ready:
    """The encoder, loaded, and the work: videos into the store ``out``, with so many cores."""
    torch.set_num_threads(cores)
    config = replace(config, workers=config.workers or max(1, cores - 1))
    encoder, spec = open_encoder(config)
    decode = _decoders(config, encoder, spec) if config.execution.ray_decoders else None

    def work(jobs: Iterator[Encode | Join]) -> Generator[JobResult | int, None, None]:
        store = FeatureStore.open(out)
        parts = PartRecorder(store)
        with StoreWriter(store, config) as recorder:
            videos = _Videos(jobs, recorder, parts, store, config)
            for event in encode_videos(videos, encoder, spec.plan, config, cores=cores, decode=decode):
                yield from videos.joined()
                video = event.video
                if isinstance(event, Long):
                    yield JobResult(video.id, event)
                    continue
                if isinstance(video, VideoRange):
                    result = parts.take(event)
                    yield result if isinstance(result, int) else JobResult(video.id, result)
                    continue
                yield from map(_told, recorder.take(event))
                if isinstance(event, Finished):  # told at once: the driver counts on it
                    yield from map(_told, recorder.finish())
            yield from videos.joined()

    return Ready(About(spec, tuple(encoder.notes), encoder.weights.random), work)


def _told(outcome: Outcome | int) -> JobResult | int:
    return outcome if isinstance(outcome, int) else JobResult(outcome.video.id, outcome)


def _decoders(
    config: ExtractConfig, encoder: AnyEncoder, spec: StoreSpec
) -> Callable[[Iterable[VideoFile]], Iterator[Decoded]]:
    """Decoders of this worker's own, elsewhere."""
    flow = flow_settings(config, torch.device("cpu"), threads=1) if spec.plan.flow else None
    settings = DecodeSettings(encoder.spec, spec.plan, config.decoder, decode_limits(config), flow)
    return RemoteDecoders(config.execution.ray_decoders or 1, settings).decode


class _Videos:
    """The videos among the jobs, for the decoders; what else comes up is done on the way.

    An iterator of its own, since a generator would not go on after it has ended once.
    """

    def __init__(
        self,
        jobs: Iterator[Encode | Join],
        recorder: StoreWriter,
        parts: PartRecorder,
        store: FeatureStore,
        config: ExtractConfig,
    ) -> None:
        self._jobs = jobs
        self._recorder = recorder
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
            self._recorder.begin(job.video, attempt=job.attempt)
        return job.video

    def joined(self) -> Iterator[JobResult]:
        """The ends of videos that were joined since the last call."""
        while self._joined:
            yield self._joined.popleft()

    def _join(self, job: Join) -> Outcome | str:
        try:
            return join(self._store, job.video, job.parts, self._config)
        except UnfitError as error:
            return str(error)

"""Extraction by the workers of a Ray cluster: each is what `extract` is on one machine, with a stream of videos."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from operator import attrgetter
from pathlib import Path
from typing import Any

import torch

from pipeline.config import ExtractConfig
from pipeline.errors import PipelineError
from pipeline.execution.ray_pool import Lost, RayPool
from pipeline.execution.ray_start import connected, room_in
from pipeline.execution.station import Ended, Opened
from pipeline.features import encode_videos, open_encoder
from pipeline.recorder import Outcome, Recorder, record_failure
from pipeline.spec import StoreSpec
from pipeline.store import FeatureStore
from pipeline.video.find import VideoFile


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
    """The job: one video, from its file to the store."""

    video: VideoFile

    @property
    def key(self) -> str:
        return self.video.id


# On a worker.


def open_extraction(out: Path, config: ExtractConfig, cores: int) -> Opened:
    """The encoder, loaded, and the work: videos into the store ``out``, with so many cores."""
    torch.set_num_threads(cores)
    config = replace(config, workers=config.workers or max(1, cores - 1))
    encoder, spec = open_encoder(config)

    def work(jobs: Iterator[Encode]) -> Generator[Ended | int, None, None]:
        recorder = Recorder(FeatureStore.open(out), config)
        try:
            videos = recorder.noting(map(attrgetter("video"), jobs))  # a generator would not go on after an end
            for event in encode_videos(videos, encoder, spec.plan, config, cores=cores):
                outcome = recorder.take(event)
                yield Ended(outcome.video.id, outcome) if isinstance(outcome, Outcome) else outcome
        finally:
            recorder.close()

    return Opened(About(spec, tuple(encoder.notes), encoder.weights.random), work)


# On the driver.


class Workers:
    """The workers of one extraction, the first of which has said what features they make."""

    def __init__(self, pool: RayPool) -> None:
        self._pool = pool
        self.about: About = pool.first_about()

    def outcomes(self, videos: Iterator[VideoFile], store: FeatureStore) -> Generator[Outcome | int, None, None]:
        """What becomes of each video, and rows on their way, as the workers tell it."""
        for result in self._pool.run(Encode(video) for video in videos):
            if isinstance(result, Lost):
                yield record_failure(store, result.job.video, "crashed", result.reason)
            elif isinstance(result, Ended):
                yield replace(result.result, worker=result.worker)
            else:
                yield result


@contextmanager
def workers(out: Path, config: ExtractConfig) -> Iterator[Workers]:
    """Workers on the cluster that ``config`` names; they end with the block.

    Raises:
        PipelineError, EncoderError: no Ray, no cluster, no encoder there, or workers that make different features.
    """
    if config.device not in ("auto", "cpu", "cuda"):
        raise PipelineError(f"with executor='ray' device must be auto, cpu or cuda, got {config.device!r}")
    with connected(config.execution) as ray:
        room = room_in(ray, config.execution, on_cpu=config.device == "cpu")
        known: list[tuple[str, StoreSpec]] = []

        def compare(name: str, about: Any) -> None:
            known.append((name, about.spec))
            if differing := known[0][1].differences(about.spec):
                raise PipelineError(
                    f"the workers would make different features; give --device and --precision. Here is {known[0][0]}, "
                    f"there {name}: {'; '.join(differing)}"
                )

        arguments = (out.absolute(), config, room.cpus)
        # Each decoder process has a video and the next one; one more waits while the driver hears of one that is done.
        depth = 2 * (config.workers or max(1, room.cpus - 1)) + 1
        opener = f"{__name__}:{open_extraction.__name__}"
        with RayPool(ray, opener, arguments, room=room, depth=depth, on_ready=compare) as pool:
            yield Workers(pool)

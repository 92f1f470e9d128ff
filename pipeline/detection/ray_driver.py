"""The driver's side of localization on a Ray cluster."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from pipeline.cluster.ray_pool import JobLost, RayPool
from pipeline.cluster.ray_start import capacity_in, connected
from pipeline.cluster.worker import JobResult
from pipeline.config import LocalizeConfig
from pipeline.detection.locator import VideoDetections
from pipeline.detection.model import LocalizationModel
from pipeline.detection.ray_worker import Locate, open_localization
from pipeline.errors import PipelineError
from pipeline.video.videos import VideoFile

_DEPTH = 3  # for each worker: one video in search, one in decoding, one waiting


class Workers:
    """The workers of one localization.

    Attributes:
        notes: what the user should know about the encoder, from the first worker.
    """

    def __init__(self, pool: RayPool, *, videos: int) -> None:
        self._pool = pool
        self.notes: tuple[str, ...] = pool.wait_for_first(jobs=videos)

    def found(self, videos: Sequence[VideoFile]) -> Iterator[VideoDetections]:
        """Search videos; yield the detections of each, in the order in which they end."""
        for result in self._pool.run(map(Locate, videos)):
            if isinstance(result, JobLost):
                yield VideoDetections(result.job.key, failure=f"crashed: {result.reason}")
            elif isinstance(result, JobResult):
                yield result.result


@contextmanager
def workers(model: LocalizationModel, config: LocalizeConfig, *, videos: int) -> Iterator[Workers]:
    """Start workers on the cluster that `config` names; stop them at the end of the block.

    Args:
        videos: number of videos.

    Raises:
        PipelineError, EncoderError: no Ray, no cluster, no encoder there, or a machine that makes other features.
    """
    if config.device not in ("auto", "cpu", "cuda"):
        raise PipelineError(f"with executor='ray' device must be auto, cpu or cuda, got {config.device!r}")
    with connected(config.execution) as ray:
        capacity = capacity_in(ray, config.execution, on_cpu=config.device == "cpu")
        opener = f"{open_localization.__module__}:{open_localization.__name__}"
        with RayPool(ray, opener, (model, config, capacity.cpus), capacity=capacity, depth=_DEPTH) as pool:
            yield Workers(pool, videos=videos)

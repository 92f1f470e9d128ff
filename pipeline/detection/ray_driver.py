"""The driver's side of localization on a Ray cluster."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from pipeline.cluster.ray_pool import JobLost, RayPool
from pipeline.cluster.ray_start import capacity_in, connected
from pipeline.cluster.worker import JobResult
from pipeline.config import LocalizeConfig
from pipeline.detection.model import LocalizationModel
from pipeline.errors import PipelineError
from pipeline.video.videos import VideoFile

_DEPTH = 3  # a video that is searched, one that is decoded meanwhile, one that waits


class Workers:
    """The workers of one localization.

    Attributes:
        notes: what the first of them says of its encoder.
    """

    def __init__(self, pool: RayPool, *, videos: int) -> None:
        self._pool = pool
        self.notes: tuple[str, ...] = pool.first_about(jobs=videos)

    def found(self, videos: Sequence[VideoFile]) -> Iterator[tuple[str, Any]]:
        """For each video its id, and its detections or why there are none, in the order in which they are done."""
        from pipeline.detection.ray_worker import (
            Locate,  # which knows pipeline.stages.localize, which knows this module
        )

        for result in self._pool.run(map(Locate, videos)):
            if isinstance(result, JobLost):
                yield result.job.key, f"crashed: {result.reason}"
            elif isinstance(result, JobResult):
                yield result.key, result.result


@contextmanager
def workers(model: LocalizationModel, config: LocalizeConfig, *, videos: int) -> Iterator[Workers]:
    """Workers on the cluster that ``config`` names; they end with the block.

    Args:
        videos: how many there are.

    Raises:
        PipelineError, EncoderError: no Ray, no cluster, no encoder there, or a machine that makes other features.
    """
    if config.device not in ("auto", "cpu", "cuda"):
        raise PipelineError(f"with executor='ray' device must be auto, cpu or cuda, got {config.device!r}")
    with connected(config.execution) as ray:
        room = capacity_in(ray, config.execution, on_cpu=config.device == "cpu")
        opener = "pipeline.detection.ray_worker:open_localization"
        with RayPool(ray, opener, (model, config, room.cpus), room=room, depth=_DEPTH) as pool:
            yield Workers(pool, videos=videos)

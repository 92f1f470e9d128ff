"""The worker's side of localization: raw videos in, detections out. Detections are small and travel back."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass
from operator import attrgetter

import torch

from pipeline.cluster.worker import JobResult, Ready, RowsAdded
from pipeline.config import LocalizeConfig
from pipeline.detection.locator import Locator
from pipeline.detection.model import LocalizationModel
from pipeline.video.videos import VideoFile


@dataclass(frozen=True)
class Locate:
    """A job: find the actions in one video. Its result is a `VideoDetections`."""

    video: VideoFile

    @property
    def key(self) -> str:
        return self.video.id


def open_localization(model: LocalizationModel, config: LocalizeConfig, cores: int) -> Ready:
    """Load the model and its encoder; return the work of a worker on `cores` cores: videos to detections."""
    torch.set_num_threads(cores)
    locator = Locator(model, config)

    def work(jobs: Iterator[Locate]) -> Generator[JobResult | RowsAdded, None, None]:
        videos = map(attrgetter("video"), jobs)  # can continue after it has stopped once; a generator cannot
        for found in locator.found(videos, cores=cores, on_pictures=lambda count: None):
            yield JobResult(found.video_id, found)

    return Ready(locator.notes, work)

"""The worker's side of localization: raw videos in, detections out, which are small and travel back."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass
from operator import attrgetter

import torch

from pipeline.cluster.worker import JobResult, Ready
from pipeline.config import LocalizeConfig
from pipeline.detection.locator import Locator
from pipeline.detection.model import LocalizationModel
from pipeline.video.videos import VideoFile


@dataclass(frozen=True)
class Locate:
    """The job: the actions in one video. It ends with the detections, or with the reason why there are none."""

    video: VideoFile

    @property
    def key(self) -> str:
        return self.video.id


def open_localization(model: LocalizationModel, config: LocalizeConfig, cores: int) -> Ready:
    """The model with its encoder, and the work: videos to detections, with so many cores."""
    torch.set_num_threads(cores)
    locator = Locator(model, config)

    def work(jobs: Iterator[Locate]) -> Generator[JobResult | int, None, None]:
        videos = map(attrgetter("video"), jobs)  # goes on after an end, as a generator would not
        for video_id, found in locator.found(videos, cores=cores, on_pictures=lambda count: None):
            yield JobResult(video_id, found)

    return Ready(locator.notes, work)

"""Feature files in the form that OpenTAD and ActionFormer read, and a check that all are there."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from pipeline.exports.job import ExportVideo, Job
from pipeline.storage.atomic_files import whole_file
from pipeline.storage.local import cached

FEATURES = "features"


def write_arrays(job: Job, folder: Path) -> None:
    """Write the arrays of all videos to `folder/features/<prefix><name>.npy`: copies, or resized rows."""
    for video in job.videos:
        with whole_file(array_path(job, folder, video)) as partial:
            if not job.config.resize_snippets:
                shutil.copyfile(cached(job.store.array_path(video.id)), partial)
                continue
            with partial.open("wb") as file:
                np.save(file, job.features(video))


def array_path(job: Job, folder: Path, video: ExportVideo) -> Path:
    """Return the path of the features of `video`."""
    return folder / FEATURES / f"{job.config.prefix}{video.name}.npy"


def check_arrays(job: Job, folder: Path, names: Iterable[str]) -> list[str]:
    """Return the faults of the feature files of the videos called `names`."""
    faults = []
    by_name = {video.name: video for video in job.videos}
    for name in names:
        video = by_name[name]
        path = array_path(job, folder, video)
        try:
            features = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError) as error:
            faults.append(f"{path.name} cannot be read: {error}")
            continue
        expected = (video.rows, job.store.spec.channels)
        if features.shape != expected:
            faults.append(f"{path.name} is {list(features.shape)}, expected {list(expected)}")
    return faults


def training_length(job: Job) -> int:
    """Return a training length for ActionFormer-like heads: enough for all training videos, at most 2,304 rows."""
    longest = max(video.rows for video in job.subset(training=True))
    # A multiple of 32 (the stride of the sixth pyramid level) times 18 (twice the half of window 19).
    return min(2304, -(-longest // 576) * 576)

"""Export for G-TAD's ActivityNet code: one HDF5 file of rows that span each video, annotations in BSN's dialect.

G-TAD works in fractions of a video: a time of `s` seconds is at `s / (feature_frame / duration_frame *
duration_second)`, and row j of N covers the fractions `[j, j + 1) / N`. The rows here span the whole video, so
`feature_frame` is `duration_frame`. Names of videos begin with `v_`, which G-TAD removes from its results. G-TAD can
neither train on nor validate with videos without segments.
"""

from __future__ import annotations

import csv
import shlex
from pathlib import Path

import numpy as np

from pipeline.errors import PipelineError
from pipeline.exports.hdf5 import open_hdf5
from pipeline.exports.job import ExportVideo, Job, database
from pipeline.storage.atomic_files import whole_file, write_json, write_text
from pipeline.storage.read_files import read_json
from pipeline.text.plain import counted
from pipeline.text.table import csv_text

FEATURES, INFO, ANNOTATIONS, TRUTH = "features.hdf5", "video_info_new.csv", "anet_anno_action.json", "activity_net.json"
OPTIONS = "options.txt"
_TRAIN, _VAL = "training", "validation"


def write(job: Job, folder: Path) -> tuple[str, ...]:
    """Write the export to `folder`; return notes for the user."""
    videos = _videos(job)
    h5py = open_hdf5()
    with whole_file(folder / FEATURES) as partial, h5py.File(partial, "w") as file:
        for name, video in videos.items():
            file.create_dataset(name, data=job.features(video).astype(np.float32))
    write_json(folder / ANNOTATIONS, {name: _entry(job, video) for name, video in videos.items()})
    write_text(folder / INFO, _info_csv(job, videos))
    truth = database(job, train=_TRAIN, val=_VAL)
    truth["database"] = {name.removeprefix("v_"): entry for name, entry in truth["database"].items()}
    write_json(folder / TRUTH, truth)
    write_text(folder / OPTIONS, _options(job))
    empty = len(job.videos) - len(videos)
    return (f"left out {counted(empty, 'video')} without segments: G-TAD cannot use them",) if empty else ()


def check(job: Job, folder: Path) -> list[str]:
    """Return the faults of the export in `folder`, read as G-TAD reads it."""
    faults = []
    rows, annotations = job.config.resize_snippets, read_json(folder / ANNOTATIONS, what="export")
    with (folder / INFO).open(encoding="utf-8", newline="") as file:
        names = [row["video"] for row in csv.DictReader(file)]
    with open_hdf5().File(folder / FEATURES, "r") as features:
        for name in names:
            entry, array = annotations[name], features.get(name)
            if array is None or array.shape != (rows, job.store.spec.channels):
                shape = "absent" if array is None else list(array.shape)
                faults.append(f"{name} is {shape}, expected {[rows, job.store.spec.channels]}")
            seconds = entry["feature_frame"] / entry["duration_frame"] * entry["duration_second"]
            for item in entry["annotations"]:
                back = [min(max(bound / seconds, 0.0), 1.0) * entry["duration_second"] for bound in item["segment"]]
                if max(abs(a - b) for a, b in zip(back, item["segment"], strict=True)) > seconds / rows / 2:
                    faults.append(f"{name}: {item['segment']} s comes back as {back}")
    if set(names) != set(_videos(job)):
        faults.append(f"{INFO} has {len(names)} videos, expected {len(_videos(job))}")
    return faults


def _videos(job: Job) -> dict[str, ExportVideo]:
    """Return the videos with segments, by G-TAD's names.

    Raises:
        PipelineError: two videos would get the same name.
    """
    videos = {f"v_{video.name.removeprefix('v_')}": video for video in job.videos}
    if len(videos) < len(job.videos):
        raise PipelineError(
            "two videos have names that differ only by v_, and G-TAD puts v_ before every name: rename one"
        )
    return {name: video for name, video in videos.items() if video.annotations.segments}


def _entry(job: Job, video: ExportVideo) -> dict[str, object]:
    frames = video.clock.ticks(video.duration)
    return {
        "duration_second": video.duration,
        "duration_frame": frames,
        "feature_frame": frames,
        "annotations": [
            {"segment": list(segment.segment), "label": segment.label} for segment in video.annotations.segments
        ],
    }


def _info_csv(job: Job, videos: dict[str, ExportVideo]) -> str:
    rows = []
    for name, video in videos.items():
        frames = video.clock.ticks(video.duration)
        rows.append((name, frames, repr(video.duration), _TRAIN if video.training else _VAL, frames))
    return csv_text(("video", "numFrame", "seconds", "subset", "featureFrame"), rows)


def _options(job: Job) -> str:
    rows = job.config.resize_snippets
    return f"""# Options for G-TAD's ActivityNet code. Every video has {rows} rows, which span it.
--feature_path {shlex.quote(str(job.home / FEATURES))}
--video_info {shlex.quote(str(job.home / INFO))}
--video_anno {shlex.quote(str(job.home / ANNOTATIONS))}
--feat_dim {job.store.spec.channels}
--temporal_scale {rows}
--max_duration {rows}
# Ground truth for its evaluation, by the names without v_: {job.home / TRUTH}
"""

"""Export for ActionFormer (the authors' release): one .npy for each video, one JSON file, one YAML section.

ActionFormer places row i at `(i * feat_stride + num_frames / 2) / fps` seconds. It has one loader for each
data set. Before c75788b (May 2022) the loader for THUMOS14 drops every segment whose class index is 4 (CliffDiving);
newer versions keep them. So that all versions read the same, other data uses the loader for ActivityNet, which accepts
any number of rows with `feat_stride > 0`. With a negative stride it assumes that the rows span the video's duration;
`resize_snippets` writes such rows.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pipeline.exports.arrays import FEATURES, check_arrays, training_length, write_arrays
from pipeline.exports.job import Job, database
from pipeline.storage.atomic_files import write_json, write_text
from pipeline.storage.read_files import read_json
from pipeline.text.plain import counted

ANNOTATIONS, CONFIG = "annotations.json", "dataset.yaml"
_DROPPED_INDEX, _DROPPED_LABEL = 4, "CliffDiving"  # before May 2022


def write(job: Job, folder: Path) -> tuple[str, ...]:
    """Write the export to `folder`; return notes for the user."""
    write_arrays(job, folder)
    _, train, val = _loader(job)
    write_json(folder / ANNOTATIONS, database(job, train=train, val=val, skip_empty_training=True))
    write_text(folder / CONFIG, _configuration(job))
    return _notes(job)


def check(job: Job, folder: Path) -> list[str]:
    """Return the faults of the export in `folder`, read as ActionFormer reads it."""
    videos = read_json(folder / ANNOTATIONS, what="export")["database"]
    faults = check_arrays(job, folder, videos)
    class_ids = {item["label"]: item["label_id"] for entry in videos.values() for item in entry["annotations"]}
    if sorted(class_ids.values()) != list(range(len(job.labels))):
        faults.append(f"class indices must be 0 to {len(job.labels) - 1}, got {sorted(class_ids.values())}")
    for name, entry in videos.items():
        stride, num_frames = _row_ticks(job, entry)
        for item in entry["annotations"]:
            for seconds in item["segment"]:
                row = (seconds * entry["fps"] - 0.5 * num_frames) / stride
                again = (row * stride + 0.5 * num_frames) / entry["fps"]
                inside = -0.5 * num_frames / stride <= row <= (entry["frame"] - 0.5 * num_frames) / stride + 1
                if abs(again - seconds) > stride / entry["fps"] / 2 or not inside:
                    faults.append(f"{name}: {seconds} s comes back as {again} s, row {row}")
    return faults


def _row_ticks(job: Job, entry: dict[str, Any]) -> tuple[float, float]:
    """Return `feat_stride` and `num_frames` of a video, as ActionFormer computes them."""
    if job.config.resize_snippets:
        stride = entry["duration"] * entry["fps"] / job.config.resize_snippets
        return stride, stride
    return job.clock.stride, 2 * job.clock.offset


def _loader(job: Job) -> tuple[str, str, str]:
    """Return the loader's name and its names of the training and validation subsets."""
    # Only the loader for ActivityNet accepts rows that span the video.
    is_thumos = (
        not job.config.resize_snippets
        and len(job.labels) > _DROPPED_INDEX
        and job.labels[_DROPPED_INDEX] == _DROPPED_LABEL
    )
    return ("thumos", "validation", "test") if is_thumos else ("anet", "training", "validation")


def _notes(job: Job) -> tuple[str, ...]:
    notes = []
    empty = sum(not video.annotations.segments for video in job.subset(training=True))
    if empty:
        notes.append(f"left out {counted(empty, 'training video')} without segments: ActionFormer cannot train on them")
    validated = {s.label for video in job.subset(training=False) for s in video.annotations.segments}
    if missing := [label for label in job.labels if label not in validated]:
        notes.append(
            f"{counted(len(missing), 'class', 'does', 'do')} not occur in the validation subset "
            f"({', '.join(missing[:3])}): ActionFormer's "
            "evaluation renumbers classes, so detections of these count for other classes; use `evaluate` instead"
        )
    return tuple(notes)


def _configuration(job: Job) -> str:
    loader, train, val = _loader(job)
    home, clock = job.home, job.clock
    prefix = json.dumps(job.config.prefix) if job.config.prefix else "~"
    resized = job.config.resize_snippets
    # The oldest release of ActionFormer multiplies num_frames by the stride that it computes: hence 1.
    stride, num_frames = (-1, 1) if resized else (clock.stride, 2 * clock.offset)
    comment = (
        f"every video has {resized} rows, which span it: choose n_mha_win_size so that its levels divide this number"
        if resized
        else f"the longest video has {job.longest} rows; a multiple of 576 suits n_mha_win_size 19 and six levels"
    )
    return f"""# Section for an ActionFormer configuration. One "frame" is {job.tick}.
dataset_name: {loader}
train_split: ['{train}']
val_split: ['{val}']
dataset: {{
  json_file: {json.dumps(str(home / ANNOTATIONS))},
  feat_folder: {json.dumps(str(home / FEATURES))},
  file_prefix: {prefix},
  file_ext: .npy,
  num_classes: {len(job.labels)},
  input_dim: {job.store.spec.channels},
  feat_stride: {stride},
  num_frames: {num_frames},
  default_fps: ~,
  downsample_rate: 1,
  force_upsampling: False,
  trunc_thresh: 0.5,
  crop_ratio: [0.9, 1.0],
  # {comment}
  max_seq_len: {resized or training_length(job)},
}}
"""

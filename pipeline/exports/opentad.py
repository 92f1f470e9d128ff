"""Export for OpenTAD: its THUMOS-style data sets, which serve any data with frame count and duration.

OpenTAD takes row i for the moment ``(i * feature_stride + offset_frames) / (frame / duration)`` seconds and rounds
segment times down to whole frames. It leaves out videos without segments, and ends with success, after "Missing data",
where a feature file is missing: hence the check.
"""

from __future__ import annotations

from pathlib import Path

from pipeline.exports.arrays import FEATURES, check_arrays, training_length, write_arrays
from pipeline.exports.job import Job, database
from pipeline.files import read_json, write_json, write_text

TRAIN, VAL = "training", "validation"
ANNOTATIONS, CLASSES, CONFIG = "annotations.json", "category_idx.txt", "dataset.py"


def write(job: Job, folder: Path) -> tuple[str, ...]:
    """Writes the export to ``folder`` and returns notes for the user."""
    write_arrays(job, folder)
    write_text(folder / FEATURES / "missing_files.txt", "")
    write_json(folder / ANNOTATIONS, database(job, train=TRAIN, val=VAL))
    write_text(folder / CLASSES, "".join(f"{label}\n" for label in job.labels))
    write_text(folder / CONFIG, _configuration(job))
    empty = sum(not video.annotations.segments for video in job.videos)
    return (f"OpenTAD leaves out the {empty} videos that have no segments",) if empty else ()


def check(job: Job, folder: Path) -> list[str]:
    """What is wrong with the export in ``folder``, read as OpenTAD reads it."""
    videos = read_json(folder / ANNOTATIONS, what="export")["database"]
    faults = check_arrays(job, folder, videos)
    classes = (folder / CLASSES).read_text(encoding="utf-8").splitlines()
    if classes != list(job.labels):
        faults.append(f"{CLASSES} does not read back as the {len(job.labels)} classes: a name has a line break")
    for name, entry in videos.items():
        fps = entry["frame"] / entry["duration"]
        for item in entry["annotations"]:
            if item["label"] not in classes:
                faults.append(f"{name}: label {item['label']!r} is not in {CLASSES}")
            for seconds in item["segment"]:
                frame = int(seconds / entry["duration"] * entry["frame"])
                row = (frame - job.clock.offset) / job.clock.stride
                again = (row * job.clock.stride + job.clock.offset) / fps
                if abs(again - seconds) > job.clock.stride_seconds / 2:
                    faults.append(f"{name}: {seconds} s comes back as {again} s")
    return faults


def _configuration(job: Job) -> str:
    clock = job.clock
    return f'''# Data set section for OpenTAD. One "frame" is 1/{clock.rate} s; all times below are in frames.
root = {str(job.home) + "/"!r}
window_size = {training_length(job)}  # rows; the longest video has {job.longest}

shared = dict(
    ann_file=root + "{ANNOTATIONS}",
    class_map=root + "{CLASSES}",
    data_path=root + "{FEATURES}/",
    block_list=root + "{FEATURES}/missing_files.txt",
    filter_gt=False,
    feature_stride={clock.stride},
    sample_stride=1,
    offset_frames={clock.offset},
)
load = dict(type="LoadFeats", feat_format="npy", prefix={job.config.prefix!r})
tensors = ["feats", "gt_segments", "gt_labels"]

dataset = dict(
    train=dict(
        type="ThumosPaddingDataset",
        subset_name="{TRAIN}",
        pipeline=[
            load,
            dict(type="ConvertToTensor", keys=tensors),
            dict(type="RandomTrunc", trunc_len=window_size, trunc_thresh=0.5, crop_ratio=[0.9, 1.0]),
            dict(type="Rearrange", keys=["feats"], ops="t c -> c t"),
            dict(type="Collect", inputs="feats", keys=["masks", "gt_segments", "gt_labels"]),
        ],
        **shared,
    ),
    val=dict(
        type="ThumosSlidingDataset",
        subset_name="{VAL}",
        window_size=window_size,
        window_overlap_ratio=0.25,
        pipeline=[
            load,
            dict(type="ConvertToTensor", keys=tensors),
            dict(type="SlidingWindowTrunc", with_mask=True),
            dict(type="Rearrange", keys=["feats"], ops="t c -> c t"),
            dict(type="Collect", inputs="feats", keys=["masks", "gt_segments", "gt_labels"]),
        ],
        **shared,
    ),
    test=dict(
        type="ThumosSlidingDataset",
        subset_name="{VAL}",
        test_mode=True,
        window_size=window_size,
        window_overlap_ratio=0.5,
        pipeline=[
            load,
            dict(type="ConvertToTensor", keys=["feats"]),
            dict(type="SlidingWindowTrunc", with_mask=True),
            dict(type="Rearrange", keys=["feats"], ops="t c -> c t"),
            dict(type="Collect", inputs="feats", keys=["masks"]),
        ],
        **shared,
    ),
)
evaluation = dict(
    type="mAP",
    subset="{VAL}",
    tiou_thresholds=[0.3, 0.4, 0.5, 0.6, 0.7],
    ground_truth_filename=root + "{ANNOTATIONS}",
)
num_classes = {len(job.labels)}
in_channels = {job.store.spec.channels}
'''

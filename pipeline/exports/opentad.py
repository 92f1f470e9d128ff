"""Export for OpenTAD: its THUMOS-style data sets, which accept any data with frame count and duration.

OpenTAD places row i at `(i * feature_stride + offset_frames) / (frame / duration)` seconds and rounds
segment times down to whole frames. It leaves out videos without segments. If a feature file is missing, it prints
"Missing data" and exits with success: hence the check.

With `resize_snippets` the rows go to its ActivityNet-style data set, which assumes that they span the whole duration:
row j of N covers `[j, j + 1) * duration / N` seconds.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipeline.exports.arrays import FEATURES, check_arrays, write_arrays
from pipeline.exports.job import Job, database
from pipeline.exports.opentad_config import TRAIN, VAL, configuration
from pipeline.storage.atomic_files import write_json, write_text
from pipeline.storage.read_files import read_json
from pipeline.text.plain import counted

ANNOTATIONS, CLASSES, CONFIG = "annotations.json", "category_idx.txt", "dataset.py"


def write(job: Job, folder: Path) -> tuple[str, ...]:
    """Write the export to `folder`; return notes for the user."""
    write_arrays(job, folder)
    write_text(folder / FEATURES / "missing_files.txt", "")
    write_json(folder / ANNOTATIONS, database(job, train=TRAIN, val=VAL))
    write_text(folder / CLASSES, "".join(f"{label}\n" for label in job.labels))
    write_text(folder / CONFIG, configuration(job, annotations=ANNOTATIONS, classes=CLASSES))
    empty = sum(not video.annotations.segments for video in job.videos)
    return (f"OpenTAD leaves out {counted(empty, 'video')} without segments",) if empty else ()


def check(job: Job, folder: Path) -> list[str]:
    """Return the faults of the export in `folder`, read as OpenTAD reads it."""
    videos = read_json(folder / ANNOTATIONS, what="export")["database"]
    faults = check_arrays(job, folder, videos)
    classes = (folder / CLASSES).read_text(encoding="utf-8").splitlines()
    if classes != list(job.labels):
        faults.append(f"{CLASSES} does not read back as the {len(job.labels)} classes: a name has a line break")
    for name, entry in videos.items():
        for item in entry["annotations"]:
            if item["label"] not in classes:
                faults.append(f"{name}: label {item['label']!r} is not in {CLASSES}")
            for seconds in item["segment"]:
                again, stride_seconds = _read_back(job, entry, seconds)
                if abs(again - seconds) > stride_seconds / 2:
                    faults.append(f"{name}: {seconds} s comes back as {again} s")
    return faults


def _read_back(job: Job, entry: dict[str, Any], seconds: float) -> tuple[float, float]:
    """Return a time converted to rows and back to seconds, and the distance between rows in seconds."""
    duration = entry["duration"]
    if rows := job.config.resize_snippets:
        row = min(max(seconds / duration, 0.0), 1.0) * rows
        return row / rows * duration, duration / rows
    frame = int(seconds / duration * entry["frame"])
    row = (frame - job.clock.offset) / job.clock.stride
    return (row * job.clock.stride + job.clock.offset) / (entry["frame"] / duration), job.clock.stride / entry["fps"]

"""Export for FiftyOne: its temporal detection data set, segments in seconds.

FiftyOne takes a label's key for the path of a video, where it is absolute, and for the path of a file below `data/`
without its suffix, where it is not. It stops at the first key whose video it does not find, and without a folder
`data`, even an empty one: so videos that are gone are left out of the labels.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from pipeline.errors import PipelineError
from pipeline.exports.job import ExportVideo, Job
from pipeline.storage.atomic_files import whole_file, write_json, write_text
from pipeline.storage.read_files import read_json

LABELS, DATA, CONFIG = "labels.json", "data", "load.py"


def write(job: Job, folder: Path) -> tuple[str, ...]:
    """Writes the export to `folder` and returns notes for the user."""
    sources = _sources(job)
    if not sources:
        raise PipelineError(
            f"none of the {len(job.videos)} videos is where its features were made from, such as "
            f"{_recorded(job, job.videos[0]).get('path')}: put them back there"
        )
    (folder / DATA).mkdir(parents=True)
    labels = {}
    for video, source in sources.items():
        labels[_key(job, video, source)] = [
            {
                "label": job.labels.index(segment.label),
                "timestamps": list(segment.segment),
                "attributes": {"subset": video.annotations.subset},
            }
            for segment in video.annotations.segments
        ]
        _put(job, video, source, folder / DATA)
    write_json(folder / LABELS, {"classes": list(job.labels), "labels": labels})
    write_text(folder / CONFIG, _configuration(job))
    gone = [video.id for video in job.videos if video not in sources]
    if not gone:
        return ()
    return (
        f"{len(gone)} videos are left out, since they are no longer where, or what, their features were made from "
        f"({', '.join(gone[:3])}): put them back and export again",
    )


def check(job: Job, folder: Path) -> list[str]:
    """What is wrong with the export in `folder`, read as FiftyOne reads it."""
    content = read_json(folder / LABELS, what="export")
    sources, faults = _sources(job), []
    data = {path.name[: len(path.name) - len(path.suffix)] for path in (folder / DATA).iterdir() if path.is_file()}
    for key in content["labels"]:
        if not (Path(key).is_file() if Path(key).is_absolute() else key in data):
            faults.append(f"{key}: no such video")
    if len(content["labels"]) != len(sources):
        faults.append(f"{LABELS} has {len(content['labels'])} videos, expected {len(sources)}: two share a file")
    for video, source in sources.items():
        items = content["labels"].get(_key(job, video, source), [])
        back = [(tuple(item["timestamps"]), content["classes"][item["label"]]) for item in items]
        if back != [(segment.segment, segment.label) for segment in video.annotations.segments]:
            faults.append(f"{video.id}: its segments do not read back")
    return faults


def _sources(job: Job) -> dict[ExportVideo, Path]:
    """The file of each video, but for those that are gone, or others than the features were made from."""
    sources = {}
    for video in job.videos:
        recorded = _recorded(job, video)
        path = Path(str(recorded.get("path")))
        if path.is_absolute() and path.is_file() and recorded.get("bytes") in (None, path.stat().st_size):
            sources[video] = path
    return sources


def _recorded(job: Job, video: ExportVideo) -> dict[str, Any]:
    """What the sidecar says of the video's file."""
    source = job.store.require_sidecar(video.id).get("source")
    return source if isinstance(source, dict) else {}


def _key(job: Job, video: ExportVideo, source: Path) -> str:
    return str(source) if job.config.videos == "refer" else video.name


def _put(job: Job, video: ExportVideo, source: Path, data: Path) -> None:
    """Links or copies a video to the folder `data` under its id, if that is asked for."""
    target = data / f"{video.name}{source.suffix or '.mp4'}"  # or an id's last dot would begin the suffix
    if job.config.videos == "link":
        target.symlink_to(source)
    elif job.config.videos == "copy":
        with whole_file(target) as partial:
            shutil.copyfile(source, partial)


def _configuration(job: Job) -> str:
    return f"""# Loads the export into FiftyOne.
import fiftyone

dataset = fiftyone.Dataset.from_dir(
    dataset_dir={str(job.home)!r},
    dataset_type=fiftyone.types.FiftyOneTemporalDetectionDataset,
)
"""

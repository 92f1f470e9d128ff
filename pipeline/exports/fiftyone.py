"""Export for FiftyOne: its temporal detection data set, segments in seconds.

FiftyOne reads the key of a label as the path of a video if it is absolute, else as a file below `data/` without its
suffix. It stops at the first key without a video, and if there is no folder `data` (it may be empty). The export
therefore leaves out videos that are gone.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from pipeline.errors import PipelineError
from pipeline.exports.job import ExportVideo, Job
from pipeline.storage.atomic_files import whole_file, write_json, write_text
from pipeline.storage.read_files import read_json
from pipeline.store.records import SourceRecord
from pipeline.text.plain import counted

LABELS, DATA, CONFIG = "labels.json", "data", "load.py"


def write(job: Job, folder: Path) -> tuple[str, ...]:
    """Write the export to `folder`; return notes for the user."""
    sources = _sources(job)
    if not sources:
        raise PipelineError(
            f"no video is where its features were made from, for example "
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
        f"left out {counted(len(gone), 'video')}, moved or changed since the features were made "
        f"({', '.join(gone[:3])}): put them back and export again",
    )


def check(job: Job, folder: Path) -> list[str]:
    """Return the faults of the export in `folder`, read as FiftyOne reads it."""
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
    """Return the file of each video, except those that are gone or have changed since extraction."""
    sources = {}
    for video in job.videos:
        recorded = _recorded(job, video)
        path = Path(str(recorded.get("path")))
        if path.is_absolute() and path.is_file() and recorded.get("bytes") in (None, path.stat().st_size):
            sources[video] = path
    return sources


def _recorded(job: Job, video: ExportVideo) -> SourceRecord:
    """Return the video's source as recorded in its sidecar."""
    source = job.store.require_sidecar(video.id).get("source")
    return source if isinstance(source, dict) else {}


def _key(job: Job, video: ExportVideo, source: Path) -> str:
    return str(source) if job.config.videos == "refer" else video.name


def _put(job: Job, video: ExportVideo, source: Path, data: Path) -> None:
    """Link or copy a video to the folder `data` under its id, if `config.videos` says so."""
    target = data / f"{video.name}{source.suffix or '.mp4'}"  # without a suffix, an id's last dot would start one
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

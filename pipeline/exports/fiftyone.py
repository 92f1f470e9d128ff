"""Export for FiftyOne: its temporal detection data set, videos where they are, segments in seconds."""

from __future__ import annotations

from pathlib import Path

from pipeline.exports.job import ExportVideo, Job
from pipeline.storage.atomic_files import read_json, write_json, write_text

LABELS, CONFIG = "labels.json", "load.py"


def write(job: Job, folder: Path) -> tuple[str, ...]:
    """Writes the export to ``folder`` and returns notes for the user."""
    labels = {}
    for video in job.videos:
        labels[_key(job, video)] = [
            {
                "label": job.labels.index(segment.label),
                "timestamps": list(segment.segment),
                "attributes": {"subset": video.annotations.subset},
            }
            for segment in video.annotations.segments
        ]
    write_json(folder / LABELS, {"classes": list(job.labels), "labels": labels})
    write_text(folder / CONFIG, _configuration(job))
    absent = [video.id for video in job.videos if _source(job, video) is None]
    if not absent:
        return ()
    return (
        f"{len(absent)} videos are no longer where their features were made from ({', '.join(absent[:3])}): put them "
        f"into {job.home / 'data'} under their ids",
    )


def check(job: Job, folder: Path) -> list[str]:
    """What is wrong with the export in ``folder``, read as FiftyOne reads it."""
    content = read_json(folder / LABELS, what="export")
    faults = []
    if len(content["labels"]) != len(job.videos):
        faults.append(f"{LABELS} has {len(content['labels'])} videos, expected {len(job.videos)}: two share a file")
    for video in job.videos:
        items = content["labels"].get(_key(job, video), [])
        back = [(tuple(item["timestamps"]), content["classes"][item["label"]]) for item in items]
        if back != [(segment.segment, segment.label) for segment in video.annotations.segments]:
            faults.append(f"{video.id}: its segments do not read back")
    return faults


def _source(job: Job, video: ExportVideo) -> Path | None:
    source = (job.store.sidecar(video.id) or {}).get("source")
    path = Path(str(source["path"])) if isinstance(source, dict) and source.get("path") else None
    return path if path is not None and path.is_file() else None


def _key(job: Job, video: ExportVideo) -> str:
    """The video's file, or its id where that is gone."""
    return str(_source(job, video) or video.id)


def _configuration(job: Job) -> str:
    return f"""# Loads the export into FiftyOne.
import fiftyone

dataset = fiftyone.Dataset.from_dir(
    dataset_dir={str(job.home)!r},
    dataset_type=fiftyone.types.FiftyOneTemporalDetectionDataset,
)
"""

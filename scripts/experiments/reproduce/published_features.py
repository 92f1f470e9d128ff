"""Published features and annotations, made ready for `ablate`."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from pipeline.annotations import Annotations, read_annotations, write_annotations
from pipeline.annotations.match import adopt_ids
from pipeline.errors import PipelineError
from pipeline.exports.config import ImportConfig
from pipeline.exports.importing import import_features
from pipeline.exports.published import find_published
from pipeline.heads.presets import preset
from pipeline.storage.atomic_files import write_json
from pipeline.storage.read_files import read_json
from pipeline.text.plain import counted

QUICK_CLASSES, QUICK_VIDEOS = 2, 6  # of each subset


def choices_of_streams(source: dict[str, Any], flow: Path | None) -> dict[str, dict[str, Any]]:
    """Return the stores to make by name, with their options of `import`: RGB alone, and both streams if there are."""
    if source["import"].get("stream_channels"):
        return {"rgb": {"stream": "rgb"}, "rgb_flow": {}}
    return {"rgb": {}, "rgb_flow": {"flow": flow}} if flow else {"features": {}}


def import_store(
    features: Path,
    out: Path,
    source: dict[str, Any],
    choice: dict[str, Any],
    *,
    annotations: Path,
    only: Collection[str] | None = None,
) -> Iterator[str]:
    """Import published features into the store `out`, unless that was done; yield lines for the user.

    Args:
        features: folder of the files.
        source: see `experiment.read_source`.
        choice: see `choices_of_streams`.
        annotations: ground truth.
        only: ids of the videos to import; None: all.

    Raises:
        PipelineError: there are no such features, or all are bad.
    """
    given = {
        "features": str(features.resolve()),
        "source": source["import"],
        "choice": {k: str(v) for k, v in choice.items()},
    }
    record = out.with_name(f"{out.name}.json")
    if record.exists() and read_json(record, what="record of an import") == given:
        yield "imported before"
        return
    truth = read_annotations(annotations, subsets=())
    for folder in source.get("folders", [""]):
        flow = choice.get("flow")
        options = {**choice, **({"flow": flow / folder} if flow else {})}
        _, report = import_features(features / folder, out, config_of(source, **options), annotations=truth, only=only)
        yield f"{folder or features}: {counted(len(report.done), 'video')} imported, {len(report.failed)} failed"
        yield from (f"  note: {line}" for line in report.notes)
        yield from (f"  failed: {video}: {reason}" for video, reason in list(report.failed.items())[:10])
    write_json(record, given)


def config_of(source: dict[str, Any], **options: Any) -> ImportConfig:
    """Return the settings of `import` for published features."""
    values = {**source["import"], **options}
    return ImportConfig(**values | {"stream_channels": tuple(values.get("stream_channels", ()))})


def annotations_of_few(file: Path, out: Path, source: dict[str, Any], features: Path, *, videos: int) -> set[str]:
    """Write the annotations of some videos of the first classes that have features, and return the ids of the videos.

    Args:
        file: ground truth.
        out: gets that of the few.
        source: see `experiment.read_source`.
        features: folder of the published files.
        videos: their number in each subset.

    Raises:
        PipelineError: a subset has none.
    """
    config = config_of(source)
    ids = [i for folder in source.get("folders", [""]) for i in find_published(features / folder, config)]
    settings = preset(source["preset"])
    truth: Annotations = adopt_ids(read_annotations(file, subsets=()), ids)
    with_features = set(ids)
    chosen = {}
    for subset in (settings.train_subset, settings.validation_subset):
        having = [v for i, v in truth.in_subset(subset).videos.items() if i in with_features and v.segments]
        labels = sorted({segment.label for video in having for segment in video.segments})[:QUICK_CLASSES]
        some = [v for v in having if {segment.label for segment in v.segments} <= set(labels)][:videos]
        if not some:
            raise PipelineError(f"no video of subset {subset} in {file} has features in {features}")
        chosen |= {video.id: video for video in some}
    labels = tuple(
        label for label in truth.labels if any(s.label == label for v in chosen.values() for s in v.segments)
    )
    write_annotations(out, replace(truth, videos=chosen, labels=labels))
    return set(chosen)

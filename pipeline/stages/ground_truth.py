"""Ground truth for the videos of a feature store, or for other videos with ids."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from pipeline.annotations import Annotations, adopt_ids, fit_to_durations, match, read_annotations
from pipeline.annotations.frames import FpsOf
from pipeline.errors import PipelineError
from pipeline.store.feature_store import FeatureStore
from pipeline.store.rates import fps_in


def annotations_for(
    store: FeatureStore, file: Path, *, subsets: tuple[str, ...], tolerance_seconds: float
) -> tuple[Annotations, list[str]]:
    """Return the annotations, with the store's ids and the measured durations, and notes about them.

    Args:
        subsets: those in use; faults in other subsets are notes, not errors.
        tolerance_seconds: by how much segments of these subsets may exceed their video.

    Raises:
        PipelineError: the annotations are wrong, or none of their videos is in the store.
    """
    annotations, note = matched_annotations(
        file,
        store.ids(),
        where=str(store.path),
        fps_of=fps_in(store),
        subsets=subsets,
        tolerance_seconds=tolerance_seconds,
    )
    there = set(store.ids()) & annotations.videos.keys()
    durations = {video_id: float(store.require_sidecar(video_id)["duration_seconds"]) for video_id in sorted(there)}
    annotations = fit_to_durations(annotations, durations, tolerance_seconds=tolerance_seconds, subsets=subsets)
    return annotations, [*annotations.problems, *note]


def matched_annotations(
    file: Path,
    ids: Collection[str],
    *,
    where: str,
    fps_of: FpsOf,
    subsets: tuple[str, ...],
    tolerance_seconds: float,
) -> tuple[Annotations, list[str]]:
    """Return the annotations with the ids of given videos, and a note if some videos are on one side only.

    Args:
        ids: of the videos; where: the place that has them, for messages.
        fps_of: frame rates, for labels that count frames.
        subsets, tolerance_seconds: as in `annotations_for`.

    Raises:
        PipelineError: the annotations are wrong, or none of their videos is among the ids.
    """
    read = read_annotations(file, tolerance_seconds=tolerance_seconds, subsets=subsets, fps_of=fps_of)
    annotations = adopt_ids(read, ids)
    if not annotations.videos:
        raise PipelineError(f"annotations: {file} has no videos")
    found = match(annotations, ids)
    if not found.both:
        raise PipelineError(
            f"no video of {file} is in {where}: {found.message()}; ids must agree (a video's is its file's name "
            "without suffix)"
        )
    return annotations, [found.message()] if found.only_in_annotations or found.only_in_store else []

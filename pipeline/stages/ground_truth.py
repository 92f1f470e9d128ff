"""Ground truth for the videos of a feature store."""

from __future__ import annotations

from pathlib import Path

from pipeline.annotations import Annotations, adopt_ids, fit_to_durations, match, read_annotations
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
    ids = store.ids()
    read = read_annotations(file, tolerance_seconds=tolerance_seconds, subsets=subsets, fps_of=fps_in(store))
    annotations = adopt_ids(read, ids)
    if not annotations.videos:
        raise PipelineError(f"annotations: {file} has no videos")
    found = match(annotations, ids)
    if not found.both:
        raise PipelineError(
            f"no video of {file} is in {store.path}: {found.message()}; ids must agree (a video's is its file's name "
            "without suffix)"
        )
    durations = {video_id: float(store.require_sidecar(video_id)["duration_seconds"]) for video_id in found.both}
    annotations = fit_to_durations(annotations, durations, tolerance_seconds=tolerance_seconds, subsets=subsets)
    notes = list(annotations.problems)
    if found.only_in_annotations or found.only_in_store:
        notes.append(found.message())
    return annotations, notes

"""The content of an export: the videos with features and annotations, and the classes that occur in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.annotations import Annotations, VideoAnnotations, adopt_ids, canonical_subset, fit_to_durations, match
from pipeline.errors import PipelineError
from pipeline.exports.clock import Clock
from pipeline.exports.config import ExportConfig
from pipeline.exports.resizing import resize_to_span
from pipeline.snippets import exact
from pipeline.storage.file_names import file_name_of
from pipeline.store.feature_store import FeatureSequence, FeatureStore
from pipeline.text.plain import counted


@dataclass(frozen=True)
class ExportVideo:
    """A video of an export.

    Args:
        name: the id in the export: the store's id, percent-encoded if that could not be a file name.
        id: the id in the store.
        training: whether it is in the training subset (else in the validation subset).
        duration: seconds, as measured on the video.
        rows: T in the export.
        clock: ticks of this video; the rate differs between videos if rows follow each video's own rate.
        annotations: within [0, duration].
    """

    name: str
    id: str
    training: bool
    duration: float
    rows: int
    clock: Clock
    annotations: VideoAnnotations


@dataclass(frozen=True)
class Job:
    """An export to write.

    Args:
        clock: ticks of the videos; stride and offset are those of all videos, the rate only if they share one.
        labels: the classes that occur in `videos`; the position is the class index, from 0 without gaps.
        notes: what was left out or fixed, one line each.
        home: the final folder of the export, for the paths in its configuration.
    """

    store: FeatureStore
    config: ExportConfig
    clock: Clock
    videos: tuple[ExportVideo, ...]
    labels: tuple[str, ...]
    notes: tuple[str, ...]
    home: Path

    @property
    def tick(self) -> str:
        """A description of a tick."""
        if self.store.spec.plan.fps is None:
            part = "1" if self.clock.rate == 1 else f"1/{self.clock.rate} of a"
            return f"{part} frame of the video at its own rate (fps and frame in the annotations count them)"
        return f"1/{self.clock.rate} s"

    def subset(self, *, training: bool) -> list[ExportVideo]:
        """Return the videos of one of the two subsets."""
        return [video for video in self.videos if video.training == training]

    @property
    def longest(self) -> int:
        """T of the longest video."""
        return max(video.rows for video in self.videos)

    def features(self, video: ExportVideo) -> np.ndarray:
        """Return the rows [T, C] of a video as exported: resized if `config.resize_snippets` is set.

        Raises:
            PipelineError: there are no rows to resize.
        """
        sequence = self.store.read(video.id)
        features, plan = sequence.features, sequence.plan
        if not self.config.resize_snippets:
            return features
        if len(features) == 0:
            raise PipelineError(f"{video.id} has no rows to resize; extract it with --tail pad, or remove it")
        return resize_to_span(
            features,
            self.config.resize_snippets,
            stride_seconds=float(plan.stride_seconds),
            window_seconds=float(plan.window_seconds),
            duration_seconds=video.duration,
        )


def prepare(store: FeatureStore, annotations: Annotations, config: ExportConfig, *, home: Path) -> Job:
    """Return the export of the videos in `store` and in one of the two subsets of `annotations`.

    Raises:
        PipelineError: a subset does not exist or has no features, a segment lies outside its video, or no segment
            is left.
    """
    annotations = adopt_ids(annotations, store.ids())
    try:
        in_one = annotations.in_subset(config.train), annotations.in_subset(config.val)
    except PipelineError as error:
        raise PipelineError(f"{error}; choose with --train and --val") from None
    both = annotations.in_subset(config.train, config.val)
    found = match(both, store.ids())
    for subset, name in zip(in_one, (config.train, config.val), strict=True):
        if not set(subset.videos) & set(found.both):
            raise PipelineError(f"no video of subset {name!r} has features in {store.path}: {found.message()}")
    sequences = {video_id: store.read(video_id) for video_id in found.both}
    durations = {video_id: sequence.duration_seconds for video_id, sequence in sequences.items()}
    fitted = fit_to_durations(both, durations, tolerance_seconds=config.tolerance_seconds)
    train = canonical_subset(config.train)
    videos = tuple(
        ExportVideo(
            name=file_name_of(video_id),
            id=video_id,
            training=canonical_subset(fitted.videos[video_id].subset) == train,
            duration=sequence.duration_seconds,
            rows=config.resize_snippets or len(sequence.features),
            clock=Clock.of(sequence.plan),
            annotations=fitted.videos[video_id],
        )
        for video_id, sequence in sequences.items()
    )
    occurring = {segment.label for video in videos for segment in video.annotations.segments}
    if not occurring:
        raise PipelineError(
            f"there are no segments in the {counted(len(videos), 'video')} with features in {store.path}"
        )
    notes = list(fitted.problems)
    if found.only_in_annotations or found.only_in_store:
        notes.append(f"left out: {found.message()}")
    notes += _surprises(sequences, videos)
    return Job(
        store=store,
        config=config,
        clock=Clock.of_frames(store.spec.plan),
        videos=videos,
        labels=tuple(label for label in annotations.labels if label in occurring),
        notes=tuple(notes),
        home=home,
    )


def _surprises(sequences: Mapping[str, FeatureSequence], videos: Sequence[ExportVideo]) -> list[str]:
    """Return lines about videos with odd numbers of rows, and about ids that no file can have as its name."""
    notes: list[str] = []
    odd = [
        f"{video_id}: {len(sequence.features)}, not {_rows(sequence)}"
        for video_id, sequence in sequences.items()
        if abs(len(sequence.features) - _rows(sequence)) > 1
    ]
    if odd:
        notes.append(
            f"{counted(len(odd), 'video', 'has', 'have')} another number of rows than the duration gives "
            f"({'; '.join(odd[:3])})"
        )
    renamed = [f"{video.id!r} is {video.name!r}" for video in videos if video.name != video.id]
    if renamed:
        notes.append(f"{counted(len(renamed), 'id', 'is', 'are')} encoded to be a file name ({', '.join(renamed[:3])})")
    return notes


def _rows(sequence: FeatureSequence) -> int:
    """Return T that the snippet plan gives for the video's duration."""
    return sequence.plan.count(exact(sequence.sidecar.get("duration_exact", sequence.duration_seconds)))


def database(job: Job, *, train: str, val: str, skip_empty_training: bool = False) -> dict[str, Any]:
    """Return the annotation JSON that OpenTAD and ActionFormer share: times in seconds, `frame` and `fps` in ticks.

    Args:
        train, val: the names of the subsets.
        skip_empty_training: leave out training videos without segments.
    """
    class_ids = {label: place for place, label in enumerate(job.labels)}
    entries = {}
    for video in job.videos:
        if skip_empty_training and video.training and not video.annotations.segments:
            continue
        entries[video.name] = {
            "subset": train if video.training else val,
            "duration": video.duration,
            "frame": video.clock.ticks(video.duration),
            "fps": float(video.clock.rate),
            "annotations": [
                {"segment": list(segment.segment), "label": segment.label, "label_id": class_ids[segment.label]}
                for segment in video.annotations.segments
            ],
        }
    return {"version": "1", "database": entries}

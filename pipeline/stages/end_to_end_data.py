"""The videos of `train --end-to-end`: those that are annotated, their small frames, their segments."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from encoders.spec import EncoderSpec
from pipeline.annotations import Annotations, VideoAnnotations, fit_to_durations
from pipeline.errors import PipelineError
from pipeline.heads.config import TrainConfig
from pipeline.progress import Report
from pipeline.snippets import SnippetPlan
from pipeline.stages.ground_truth import matched_annotations
from pipeline.stages.training_data import learned_labels, training_data
from pipeline.storage.location import AnyPath
from pipeline.text.plain import counted
from pipeline.training.batches import TrainItem
from pipeline.training.end_to_end_config import EndToEndConfig
from pipeline.training.end_to_end_step import Sample
from pipeline.training.frame_cache import CachedVideo, cache_videos
from pipeline.video.find import find_videos
from pipeline.video.rates import fps_among
from pipeline.video.videos import VideoFile

CACHING = 0.1  # share of the progress for decoding


@dataclass(frozen=True)
class Request:
    """What the user asks for.

    Args:
        inputs: videos, as for `extract`.
        annotations: ground truth.
        out: the MODEL folder.
        frames: folder for the small frames; None: OUT.frames, which is removed in the end.
    """

    inputs: Sequence[AnyPath]
    annotations: Path
    out: Path
    config: TrainConfig
    settings: EndToEndConfig
    frames: Path | None = None


def annotated_videos(request: Request) -> tuple[list[VideoFile], Annotations, list[str]]:
    """Return the videos of the two subsets, the annotations with their ids, and notes.

    Raises:
        PipelineError: there are no videos, the annotations are wrong, or they are of other videos.
    """
    videos = {video.id: video for video in find_videos(request.inputs)}
    config = request.config
    wanted = (config.train_subset, config.validation_subset)
    annotations, notes = matched_annotations(
        request.annotations,
        videos.keys(),
        where=_named(request),
        fps_of=fps_among(videos),
        subsets=wanted,
        tolerance_seconds=config.tolerance_seconds,
    )
    used = {video_id for subset in wanted for video_id in _in_subset(annotations, subset)}
    return [video for video_id, video in sorted(videos.items()) if video_id in used], annotations, notes


def _named(request: Request) -> str:
    return ", ".join(map(str, request.inputs))


def _in_subset(annotations: Annotations, subset: str) -> list[str]:
    try:
        return list(annotations.in_subset(subset).videos)
    except PipelineError:  # `training_data` says what there is
        return []


def small_frames(
    videos: Sequence[VideoFile],
    spec: EncoderSpec,
    plan: SnippetPlan,
    folder: Path,
    report: Report,
    say: Callable[[str], None],
) -> tuple[dict[str, CachedVideo], dict[str, str]]:
    """Decode the videos into the folder, and tell how much it takes."""

    def told(done: int, size: int) -> None:
        text = f"small frames of {done}/{len(videos)} videos, {size / 1e9:.2f} GB"
        report(CACHING * done / len(videos), text)

    cached, failed = cache_videos(videos, spec, plan, folder, report=told)
    if failed and not cached:
        name, reason = next(iter(failed.items()))
        raise PipelineError(f"no video can be used, the first is {name}: {reason}")
    size = sum(video.bytes for video in cached.values())
    say(f"small frames of {counted(len(cached), 'video')}: {size / 1e9:.2f} GB in {folder}")
    return cached, failed


def samples_of(
    request: Request, annotations: Annotations, cached: Mapping[str, CachedVideo], notes: list[str]
) -> tuple[tuple[list[Sample], list[Sample]], tuple[str, ...]]:
    """Return the training and the validation videos, and the classes."""
    config = request.config
    annotations = fit_to_durations(
        annotations,
        {video_id: video.duration_seconds for video_id, video in cached.items()},
        subsets=(config.train_subset, config.validation_subset),
        tolerance_seconds=config.tolerance_seconds,
    )
    notes[:0] = annotations.problems

    def items_of(subset: str) -> list[TrainItem]:
        found = [annotations.videos[name] for name in _in_subset(annotations, subset) if name in cached]
        return [_item(video, cached[video.id]) for video in found]

    where = str(request.annotations)
    sides = training_data(items_of, annotations, config, source=_named(request), where=where, notes=notes)
    labels = learned_labels(annotations, *sides, notes=notes)
    train, val = ([Sample(item, cached[item.video_id]) for item in side] for side in sides)
    return (train, val), labels


def _item(video: VideoAnnotations, cached: CachedVideo) -> TrainItem:
    """Return the video without its features, which change with the encoder."""

    def no_features() -> np.ndarray:
        raise AssertionError("features are made with the encoder of the moment")

    return TrainItem(
        video_id=video.id,
        features=no_features,
        segments=video.segments,
        stride_seconds=cached.stride_seconds,
        window_seconds=cached.window_seconds,
        duration_seconds=cached.duration_seconds,
    )

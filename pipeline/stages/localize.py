"""Stage: raw videos or a feature store + MODEL → detections.

A raw video is decoded, encoded, enhanced and searched as a stream: nothing is written in between, and memory does not
depend on its length. A store goes through the same arithmetic, from its rows on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from pipeline.annotations.segments import PROPOSAL_LABEL, Detection
from pipeline.config import LocalizeConfig
from pipeline.detection.locator import Locator, VideoDetections, _detect
from pipeline.detection.model import LocalizationModel
from pipeline.detection.overrides import with_options
from pipeline.detection.ray_driver import workers
from pipeline.detection.video_scores import name_proposals, scores_for
from pipeline.errors import PipelineError
from pipeline.heads.candidates import RowTimes
from pipeline.progress import Report, silent
from pipeline.stages.localize_record import Localized
from pipeline.storage.location import AnyPath
from pipeline.store.feature_store import FeatureStore
from pipeline.store.sequence import chunks_of
from pipeline.video.find import find_videos
from pipeline.video.videos import VideoList


@dataclass
class LocalizeSummary:
    """Detections by video id, the videos that failed (id → "kind: reason"), and notes on the encoder."""

    detections: dict[str, list[Detection]] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def localize(
    inputs: Sequence[AnyPath],
    model: LocalizationModel,
    config: LocalizeConfig,
    *,
    video_scores: Mapping[str, Mapping[str, float]] | None = None,
    earlier: Localized | None = None,
    report: Report = silent,
) -> LocalizeSummary:
    """Locate actions in raw videos, or in the videos of one feature store.

    Args:
        inputs: videos as for `extract`, or one store, plain or enhanced.
        video_scores: by video and class; each detection is then a proposal for the video's best classes.
        earlier: keeps the detections after each video; those of an earlier run are not made again.
        report: gets the share of videos done, 0 to 1.

    Raises:
        PipelineError, EncoderError: the input was made with other settings than the model's, or there are no weights or
            no videos.
    """
    stores = [path for path in inputs if (path / "store.json").is_file()]
    if stores and len(inputs) > 1:
        raise PipelineError(f"give videos or one store, got {len(inputs)} inputs of which {stores[0]} is a store")
    model = with_options(model, config)
    before = dict(earlier.known) if earlier else {}

    def finished(found: dict[str, list[Detection]]) -> dict[str, list[Detection]]:
        return before | (found if video_scores is None else _named(found, video_scores, model))

    def keep(found: dict[str, list[Detection]]) -> None:
        if earlier:
            earlier.keep(lambda: finished(found))

    job = _Job(model, config, frozenset(before), keep, report)
    if stores:
        summary, order = _from_store(FeatureStore.open(stores[0]), job)
    else:
        summary, order = _from_videos(inputs, job)
    found = finished(summary.detections)
    summary.detections = {video_id: found[video_id] for video_id in order if video_id in found}
    if video_scores is not None and tuple(model.labels) != (PROPOSAL_LABEL,):
        summary.notes.append(
            "the video scores replace the model's own classes; a model for them is trained with --class-agnostic"
        )
    return summary


def _named(
    detections: dict[str, list[Detection]], scores: Mapping[str, Mapping[str, float]], model: LocalizationModel
) -> dict[str, list[Detection]]:
    """Return the detections as proposals with the classes of a whole-video classifier, as ActivityNet's heads do."""
    most = model.post.max_detections
    by_video = scores_for(scores, list(detections))
    return {i: name_proposals(found, by_video[i], max_detections=most) for i, found in detections.items()}


@dataclass(frozen=True)
class _Job:
    """What both kinds of input need: the model, the settings, the ids that are done, where detections go."""

    model: LocalizationModel
    config: LocalizeConfig
    done: frozenset[str]
    keep: Callable[[dict[str, list[Detection]]], None]
    report: Report


def _from_store(store: FeatureStore, job: _Job) -> tuple[LocalizeSummary, list[str]]:
    """Return the detections of the videos that are not done yet, and the ids of all videos in order."""
    model = job.model
    expected = model.plain_features if store.spec.sola is None else model.features
    if differing := store.spec.differences(expected):
        raise PipelineError(
            f"{store.path} was made with other settings than the model's; extract with the model's. "
            f"Here is the store, there the model: {'; '.join(differing)}"
        )
    module = model.sola if store.spec.sola is None else None
    summary = LocalizeSummary()
    ids = store.ids()
    if not ids:
        raise PipelineError(f"{store.path} has no features yet; run `extract` first")
    todo = [video_id for video_id in ids if video_id not in job.done]
    for number, sequence in enumerate(store.sequences(todo)):
        summary.detections[sequence.id] = _detect(
            chunks_of(sequence.features),
            model,
            module,
            RowTimes.of(sequence.plan, sequence.duration_seconds),
            job.config,
        )
        job.keep(summary.detections)
        job.report((number + 1) / len(todo), f"{number + 1}/{len(todo)} videos")
    return summary, ids


def _from_videos(inputs: Sequence[AnyPath], job: _Job) -> tuple[LocalizeSummary, list[str]]:
    """Return the detections of the videos that are not done yet, and the ids of all videos in order."""
    model, config = job.model, job.config
    videos = _find_videos(inputs, config)
    order = [video.id for video in videos]
    videos = videos.only(lambda video_id: video_id not in job.done) if job.done else videos
    summary = LocalizeSummary()
    if not videos:
        return summary, order
    pictures = 0

    def tell(more: int = 0) -> None:
        nonlocal pictures
        pictures += more
        ended = len(summary.detections) + len(summary.failed)
        flow = f", {pictures} flow fields" if pictures else ""
        job.report(ended / len(videos), f"{ended}/{len(videos)} videos{flow}")

    def kept() -> None:
        tell()
        job.keep(summary.detections)

    if config.execution.executor == "ray":
        with workers(model, config, videos=len(videos)) as theirs:
            summary.notes.extend(theirs.notes)
            _gather(theirs.found(videos), summary, kept)
    else:
        locator = Locator(model, config)
        summary.notes.extend(locator.notes)
        _gather(locator.found(videos, on_pictures=tell), summary, kept)
    return summary, order  # several workers finish in any order


def _gather(found: Iterable[VideoDetections], summary: LocalizeSummary, tell: Callable[[], None]) -> None:
    for video in found:
        if video.failure:
            summary.failed[video.video_id] = video.failure
        else:
            summary.detections[video.video_id] = video.detections
        tell()


def _find_videos(inputs: Sequence[AnyPath], config: LocalizeConfig) -> VideoList:
    try:
        return find_videos(inputs, ids=config.ids, frame_rate=config.frame_rate)
    except PipelineError as error:
        if not any(path.is_dir() and any(file.suffix == ".npy" for file in path.iterdir()) for path in inputs):
            raise
        raise PipelineError(f"{error}; feature files are read from a store: make one from them with `import`") from None

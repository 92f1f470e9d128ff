"""Stage: raw videos or a feature store + MODEL → detections.

A raw video is decoded, encoded, enhanced and searched as it streams by: nothing is written in between, and memory
does not depend on its length. From a store the same arithmetic runs on the rows that are there.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np
import torch

from encoders.catalog import catalog_entry
from encoders.own import is_own
from encoders.weights import is_url
from pipeline.config import ExtractConfig, LocalizeConfig
from pipeline.enhance import chunks_of
from pipeline.errors import PipelineError
from pipeline.execution.localize_driver import workers
from pipeline.features import Event, Rows, encode_videos, open_encoder
from pipeline.localization.inference import Seconds, detect
from pipeline.localization.segments import PROPOSAL_LABEL, Detection
from pipeline.localization.video_scores import name_proposals, scores_for
from pipeline.model import LocalizationModel
from pipeline.progress import Report, silent
from pipeline.snippets import SnippetPlan
from pipeline.spec import StoreSpec
from pipeline.storage.location import AnyPath
from pipeline.store import FeatureStore
from pipeline.streams import RAFT_WEIGHTS
from pipeline.video.find import find_videos
from pipeline.video.pool import Failed, Finished, Restarted
from pipeline.video.videos import VideoFile, VideoList
from sola.enhance import enhance
from sola.module import SolaModule

Found = list[Detection] | str


@dataclass
class LocalizeSummary:
    """Detections by video id, the videos that failed (id → "kind: reason"), and what to know about the encoder."""

    detections: dict[str, list[Detection]] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def localize(
    inputs: Sequence[AnyPath],
    model: LocalizationModel,
    config: LocalizeConfig,
    *,
    video_scores: Mapping[str, Mapping[str, float]] | None = None,
    known: Mapping[str, list[Detection]] | None = None,
    keep: Callable[[Callable[[], dict[str, list[Detection]]]], None] = lambda found: None,
    report: Report = silent,
) -> LocalizeSummary:
    """Locates actions in raw videos, or in the videos of one feature store.

    Args:
        inputs: videos as for `extract`, or one store, plain or enhanced.
        video_scores: by video and class; each detection is then a proposal for the video's best classes.
        known: detections of videos that have been done before, and are not done again.
        keep: given, after each video, a function that says what has been found so far.
        report: told the share of videos done, 0 to 1.

    Raises:
        PipelineError, EncoderError: the input was made with other settings than the model's; no weights; no videos.
    """
    stores = [path for path in inputs if (path / "store.json").is_file()]
    if stores and len(inputs) > 1:
        raise PipelineError(f"give videos or one store, got {len(inputs)} inputs of which {stores[0]} is a store")
    before = dict(known or {})

    def finished(found: dict[str, list[Detection]]) -> dict[str, list[Detection]]:
        return before | (found if video_scores is None else _named(found, video_scores, model))

    job = _Job(model, config, frozenset(before), lambda found: keep(lambda: finished(found)), report)
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
    """The detections as proposals, named by a classifier of whole videos, as ActivityNet's heads do it."""
    most = model.post.max_detections
    by_video = scores_for(scores, list(detections))
    return {i: name_proposals(found, by_video[i], max_detections=most) for i, found in detections.items()}


@dataclass(frozen=True)
class _Job:
    """What both kinds of input need: the model, the settings, the ids that are done, whom to tell of what is found."""

    model: LocalizationModel
    config: LocalizeConfig
    done: frozenset[str]
    keep: Callable[[dict[str, list[Detection]]], None]
    report: Report


def _from_store(store: FeatureStore, job: _Job) -> tuple[LocalizeSummary, list[str]]:
    """What is found in the videos that are still to do, and the order of all."""
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
            chunks_of(sequence.features), model, module, sequence.plan, sequence.duration_seconds, job.config
        )
        job.keep(summary.detections)
        job.report((number + 1) / len(todo), f"{number + 1}/{len(todo)} videos")
    return summary, ids


def _from_videos(inputs: Sequence[AnyPath], job: _Job) -> tuple[LocalizeSummary, list[str]]:
    """What is found in the videos that are still to do, and the order of all."""
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
    return summary, order  # several workers end in any order


def _gather(found: Iterable[tuple[str, Found]], summary: LocalizeSummary, tell: Callable[[], None]) -> None:
    for video_id, result in found:
        if isinstance(result, str):
            summary.failed[video_id] = result
        else:
            summary.detections[video_id] = result
        tell()


class Locator:
    """A model and its encoder, ready for raw videos.

    Raises:
        PipelineError, EncoderError: no such encoder or weights, or this machine would make other features.

    Attributes:
        notes: what the user should know about the encoder.
    """

    def __init__(self, model: LocalizationModel, config: LocalizeConfig) -> None:
        self._model = model
        self._config = config
        self._settings = extract_config(model, config)
        sha256 = model.features.weights.get("sha256")
        self._encoder, self._spec = open_encoder(self._settings, weights_sha256=sha256)
        if differing := self._spec.differences(model.plain_features):
            raise PipelineError(
                "this machine cannot make the features that the model was trained on. "
                f"Here is this machine, there the model: {'; '.join(differing)}"
            )
        self.notes = tuple(self._encoder.notes)

    def found(
        self, videos: Iterable[VideoFile], *, cores: int | None = None, on_pictures: Callable[[int], None]
    ) -> Iterator[tuple[str, Found]]:
        """For each video its id, and its detections or why there are none ("kind: reason").

        Args:
            cores: of the processor that flow may use; None: all.
            on_pictures: with flow, told now and then how many more frames have got theirs.
        """
        plan = self._spec.plan
        events = _Events(
            encode_videos(
                videos, self._encoder, plan, self._settings, in_order=True, cores=cores, on_pictures=on_pictures
            ),
            plan,
        )
        while (video_id := events.next_video()) is not None:
            # Rows become what a store would hold, so that both ways give the same detections.
            chunks = (features.astype(self._spec.dtype) for features in events.rows())
            model = self._model
            try:
                yield video_id, _detect(chunks, model, model.sola, events.plan, events.duration_seconds, self._config)
            except _RestartedError:
                continue
            except _VideoFailedError as error:
                yield video_id, str(error)


def _find_videos(inputs: Sequence[AnyPath], config: LocalizeConfig) -> VideoList:
    try:
        return find_videos(inputs, ids=config.ids)
    except PipelineError as error:
        if not any(path.is_dir() and any(file.suffix == ".npy" for file in path.iterdir()) for path in inputs):
            raise
        raise PipelineError(f"{error}; feature files are read from a store: make one of them with `import`") from None


def extract_config(model: LocalizationModel, config: LocalizeConfig) -> ExtractConfig:
    """The settings with which the model's features were extracted, on the present machine."""
    features = model.features
    encoder = config.encoder or features.encoder["name"]
    return ExtractConfig(
        encoder=encoder,
        **_streams(encoder, features, config),
        fps="video" if features.plan.fps is None else float(features.plan.fps),
        window_frames=float(features.plan.window_frames),
        stride_frames=float(features.plan.stride_frames),
        tail=features.plan.tail,
        dtype=features.dtype,
        precision=features.precision,  # type: ignore[arg-type]
        decoder=features.decoder,  # type: ignore[arg-type]
        device=config.device,
        batch_size=config.batch_size,
        timeout_seconds=config.timeout_seconds,
        max_corrupt=config.max_corrupt,
    )


def _streams(encoder: str, features: StoreSpec, config: LocalizeConfig) -> dict[str, Any]:
    """The settings that name the streams of the model's features, and the weights of each."""
    if "streams" not in features.encoder:
        weights = config.weights or _recorded_weights(encoder, features.weights)
        return {"weights": weights, "seed": features.weights["seed"] or 0}
    values: dict[str, Any] = {"streams": ",".join(features.weights), "flow": features.encoder["flow"]["method"]}
    for stream, recorded in features.weights.items():
        option = "weights" if stream == "rgb" else "weights_flow"
        name = features.encoder["encoders"][stream]["name"]
        values[option] = getattr(config, option) or _recorded_weights(name, recorded, option)
        values["seed"] = recorded["seed"] or 0
    if values["flow"] == "raft":
        raft = features.encoder["flow"]["weights"]
        if config.raft_weights is None and raft["name"] not in (*RAFT_WEIGHTS, "random"):
            raise PipelineError(
                f"the model's flow is RAFT's with weights from a file, {raft['name']} (SHA-256 {raft['sha256']}); "
                "say where it is with --raft-weights FILE"
            )
        values["raft_weights"] = config.raft_weights or raft["name"]
    return values


def _recorded_weights(encoder: str, recorded: Mapping[str, Any], option: str = "weights") -> str:
    """The name under which the model's weights are found again; files have none."""
    name = str(recorded["name"])
    if name == "own" and not is_own(encoder):
        raise PipelineError(f"the encoder of the model, {encoder}, is your own; say where with --encoder FILE.py:NAME")
    if is_own(encoder) or recorded["random"] or is_url(name) or name in published_weights(encoder):
        return name
    raise PipelineError(
        f"the model's encoder {encoder} has weights from a file, {name} (SHA-256 {recorded['sha256']}); "
        f"say where it is with --{option.replace('_', '-')} FILE"
    )


def published_weights(encoder: str) -> Collection[str]:
    """Names of the weights that are published for an encoder in the list."""
    return catalog_entry(encoder).published


class _VideoFailedError(Exception):
    """The video whose rows are being read has failed."""


class _RestartedError(Exception):
    """The rows that were read are void; the video comes again, from its beginning."""


class _Events:
    """The events of videos that come one after the other, as one stream of rows for each video."""

    def __init__(self, events: Iterator[Event], plan: SnippetPlan) -> None:
        self._events = events
        self._plan = plan
        self._fps = Fraction(0)
        self._held: Event | None = None
        self._duration = 0.0

    def next_video(self) -> str | None:
        """Id of the next video (or of one that is begun anew), None after the last."""
        self._held = next(self._events, None)
        return None if self._held is None else self._held.video.id

    def rows(self) -> Iterator[np.ndarray]:
        """The rows of the video that :meth:`next_video` named."""
        event = self._held
        while event is not None:
            if isinstance(event, Failed):
                raise _VideoFailedError(f"{event.kind}: {event.reason}")
            if isinstance(event, Restarted):
                raise _RestartedError
            if isinstance(event, Finished):
                self._duration, self._fps = float(event.report.duration), event.info.fps
                return
            assert isinstance(event, Rows), "only videos that may be cut are told of as long"
            yield event.features
            event = next(self._events, None)

    def duration_seconds(self) -> float:
        """Duration of the video whose rows have come to their end."""
        return self._duration

    def plan(self) -> SnippetPlan:
        """What row i means in the video whose rows have come to their end."""
        return self._plan.at(self._fps)


def _detect(
    chunks: Iterable[np.ndarray],
    model: LocalizationModel,
    module: SolaModule | None,
    plan: SnippetPlan | Callable[[], SnippetPlan],
    duration_seconds: Seconds,
    config: LocalizeConfig,
) -> list[Detection]:
    def known() -> SnippetPlan:
        return plan() if callable(plan) else plan

    device = config.device if config.device != "auto" else "cuda" if torch.cuda.is_available() else "cpu"
    return detect(
        model.head,
        chunks if module is None else enhance(module, chunks),
        stride_seconds=lambda: float(known().stride_seconds),
        window_seconds=lambda: float(known().window_seconds),
        duration_seconds=duration_seconds,
        labels=model.labels,
        post=model.post,
        device=device,
    )

"""A trained model with its encoder: raw videos in, detections out."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any

import numpy as np

from encoders.catalog import CATALOG, brings_weights, catalog_entry
from encoders.weights import is_url
from pipeline.annotations.segments import Detection
from pipeline.config import LocalizeConfig
from pipeline.detection.inference import detect
from pipeline.detection.model import LocalizationModel
from pipeline.errors import PipelineError
from pipeline.extraction.config import ExtractConfig
from pipeline.extraction.encode import Event, Rows, encode_videos, on_all_devices, open_encoder
from pipeline.extraction.encoders import RAFT_WEIGHTS, AnyEncoder
from pipeline.heads.candidates import RowTimes
from pipeline.snippets import SnippetPlan
from pipeline.store.spec import StoreSpec
from pipeline.video.events import Failed, Finished, Restarted
from pipeline.video.videos import VideoFile
from sola.device import resolve_device
from sola.filters import Filter, enhanced_by
from sola.module import SolaModule

_WHERE = "the encoder of the model, {}, is your own; say where with --encoder FILE.py:NAME"


@dataclass(frozen=True)
class VideoDetections:
    """The actions found in one video.

    Args:
        failure: "kind: reason" of a video that could not be searched; empty otherwise.
    """

    video_id: str
    detections: list[Detection] = field(default_factory=list)
    failure: str = ""


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
        settings = extract_config(model, config)
        # One worker: the rows of a video come without those of others in between.
        self._decoding = replace(settings.decoding, workers=1)
        sha256 = model.features.weights.get("sha256")
        encoder, self._spec = open_encoder(settings, weights_sha256=sha256)
        if differing := self._spec.differences(model.plain_features):
            raise PipelineError(
                "this machine cannot make the features that the model was trained on. "
                f"Here is this machine, there the model: {'; '.join(differing)}"
            )
        self._encoders = on_all_devices(encoder, settings)
        self.notes = tuple(encoder.notes)

    @property
    def encoder(self) -> AnyEncoder:
        """The encoder, on the first device."""
        return self._encoders[0]

    @property
    def features(self) -> StoreSpec:
        """The spec of its features."""
        return self._spec

    def found(
        self, videos: Iterable[VideoFile], *, cores: int | None = None, on_pictures: Callable[[int], None]
    ) -> Iterator[VideoDetections]:
        """Search videos one after the other; yield the detections of each.

        Args:
            cores: processor cores for flow; None: all.
            on_pictures: called now and then with the number of flow fields made since the last call.
        """
        plan = self._spec.plan
        events = _Events(
            encode_videos(videos, self._encoders, plan, self._decoding, cores=cores, on_pictures=on_pictures), plan
        )
        while (video_id := events.next_video()) is not None:
            # Rows become what a store would hold, so that both ways give the same detections.
            chunks = (features.astype(self._spec.dtype) for features in events.rows())
            model = self._model
            try:
                found = _detect(chunks, model, model.sola, events.times, self._config)
            except _RestartedError:
                continue
            except _VideoFailedError as error:
                yield VideoDetections(video_id, failure=str(error))
            else:
                yield VideoDetections(video_id, found)


def extract_config(model: LocalizationModel, config: LocalizeConfig) -> ExtractConfig:
    """The settings with which the model's features were extracted, on the present machine."""
    features = model.features
    encoder = config.encoder or features.encoder["name"]
    return ExtractConfig(
        encoder=encoder,
        pool=features.encoder.get("pool"),
        **_streams(encoder, model, config),
        fps="video" if features.plan.fps is None else float(features.plan.fps),
        window_frames=float(features.plan.window_frames),
        stride_frames=float(features.plan.stride_frames),
        tail=features.plan.tail,
        dtype=features.dtype,
        precision=features.precision,  # type: ignore[arg-type]
        decoder=features.decoder,  # type: ignore[arg-type]
        decode_device=config.decode_device,
        device=config.device,
        batch_size=config.batch_size,
        timeout_seconds=config.timeout_seconds,
        max_corrupt=config.max_corrupt,
    )


def _streams(encoder: str, model: LocalizationModel, config: LocalizeConfig) -> dict[str, Any]:
    """The settings that name the streams of the model's features, and the weights of each."""
    features = model.features
    if "encoders" not in features.encoder:  # imported streams have no encoders
        weights = config.weights or _own_weights(encoder, model) or _recorded_weights(encoder, features.weights)
        return {"weights": weights, "seed": features.weights["seed"] or 0}
    values: dict[str, Any] = {"streams": ",".join(stream for stream in features.weights if stream != "also")}
    if "flow" in features.encoder:
        values["flow"] = features.encoder["flow"]["method"]
    for stream, recorded in features.weights.items():
        if stream == "audio":
            values["audio_encoder"] = config.audio_encoder or features.encoder["encoders"]["audio"]["name"]
            continue
        option = {"rgb": "weights", "also": "also_weights"}.get(stream, "weights_flow")
        name = features.encoder["encoders"][stream]["name"]
        values[option] = getattr(config, option) or _recorded_weights(name, recorded, option)
        values["seed"] = recorded["seed"] or 0
    if values.get("flow") == "raft":
        raft = features.encoder["flow"]["weights"]
        if config.raft_weights is None and raft["name"] not in (*RAFT_WEIGHTS, "random"):
            raise PipelineError(
                f"the model's flow is RAFT's with weights from a file, {raft['name']} (SHA-256 {raft['sha256']}); "
                "say where it is with --raft-weights FILE"
            )
        values["raft_weights"] = config.raft_weights or raft["name"]
    return values


def _own_weights(encoder: str, model: LocalizationModel) -> str:
    """The weights in the model's folder; empty if it has none."""
    if model.encoder_weights is None:
        return ""
    if encoder not in CATALOG and not brings_weights(encoder):
        raise PipelineError(_WHERE.format(encoder))
    return str(model.encoder_weights)


def _recorded_weights(encoder: str, recorded: Mapping[str, Any], option: str = "weights") -> str:
    """The name under which the model's weights are found again; files have none."""
    name = str(recorded["name"])
    if name == "own" and not brings_weights(encoder):
        raise PipelineError(_WHERE.format(encoder))
    if name == "own" or recorded["random"] or is_url(name) or name in published_weights(encoder):
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

    def times(self) -> RowTimes:
        """What the rows mean in the video whose rows have come to their end."""
        return RowTimes.of(self._plan.at(self._fps), self._duration)


def _detect(
    chunks: Iterable[np.ndarray],
    model: LocalizationModel,
    module: SolaModule | Filter | None,
    times: RowTimes | Callable[[], RowTimes],
    config: LocalizeConfig,
) -> list[Detection]:
    return detect(
        model.head,
        chunks if module is None else enhanced_by(module, chunks),
        times,
        labels=model.labels,
        post=model.post,
        device=resolve_device(config.device),
    )

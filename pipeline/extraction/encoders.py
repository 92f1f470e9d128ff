"""The streams of a job (RGB, RGB of other weights, flow, audio): their encoders, settings, spec of their features."""

from __future__ import annotations

from typing import Any

import torch

from encoders.audio import load_audio_encoder
from encoders.catalog import CATALOG, catalog_entry, flow_variant
from encoders.encoder import Encoder, load_encoder
from encoders.two_stream import PictureStream, StreamEncoder
from encoders.weights import PublishedWeights, WeightsInfo, file_sha256, locate
from pipeline.errors import PipelineError
from pipeline.extraction.config import Decoding, ExtractConfig
from pipeline.store.spec import StoreSpec
from pipeline.video.audio import AudioSettings
from pipeline.video.flow import CLAMP_PIXELS, RANDOM, VERSION, FlowSettings, require

AnyEncoder = Encoder | StreamEncoder

RAFT_WEIGHTS = {
    "raft_large": PublishedWeights(
        "https://download.pytorch.org/models/raft_large_C_T_SKHT_V2-ff5fadd5.pth",
        "FlyingChairs, FlyingThings3D, then a mixture of data sets; torchvision's default",
    ),
    "raft_small": PublishedWeights(
        "https://download.pytorch.org/models/raft_small_C_T_V2-01064c6d.pth",
        "FlyingChairs, FlyingThings3D; torchvision's default",
    ),
}


def load_streams(
    config: ExtractConfig, device: str, precision: str, *, weights_sha256: str | None = None
) -> AnyEncoder:
    """Load the encoder of the streams that `config` names, on one device; all streams use the same precision.

    Args:
        weights_sha256: if given, refuse other weights; for RGB alone.

    Raises:
        EncoderError, PipelineError: no such encoder, stream, weights or device; OpenCV is not installed.
    """

    def load(name: str, weights: str, precision: str, sha256: str | None = None) -> Encoder:
        return load_encoder(
            name,
            pool=config.pool,
            weights=weights,
            seed=config.seed,
            device=device,
            precision=precision,
            batch_size=config.batch_size,
            weights_sha256=sha256,
            compile=config.compile,
        )

    if not config.with_flow:
        entry = CATALOG.get(config.encoder)
        if entry is not None and entry.spec.modality == "flow":
            family = config.encoder.removesuffix("_flow")
            raise PipelineError(f"encoder {config.encoder} takes flow; choose --encoder {family} --streams flow")
        if config.also_weights is None and not config.with_audio:
            return load(config.encoder, config.weights, precision, weights_sha256)
    chosen = _chosen(config)
    encoders = {stream: load(*of_stream, precision) for stream, of_stream in chosen.items()}
    if len({encoder.precision for encoder in encoders.values()}) > 1:  # one of them fell back
        encoders = {stream: load(*of_stream, "fp32") for stream, of_stream in chosen.items()}
    if not config.with_audio:
        return StreamEncoder(encoders)
    audio = load_audio_encoder(config.audio_encoder, device=device, batch_size=config.batch_size)
    frames = None if encoders else catalog_entry(config.encoder, pool=config.pool, weights=RANDOM).spec
    return StreamEncoder(encoders, audio, frames=frames)


def audio_settings(encoder: AnyEncoder) -> AudioSettings | None:
    """Return how the audio of videos is cut for an encoder; None: it takes none."""
    if not isinstance(encoder, StreamEncoder) or encoder.audio is None:
        return None
    return AudioSettings(rate=encoder.audio.spec.sample_rate, alone=not encoder.pictures)


def _chosen(config: ExtractConfig) -> dict[PictureStream, tuple[str, str]]:
    """Return the encoder and the weights of each stream of pictures, in the order of the features."""
    chosen: dict[PictureStream, tuple[str, str]] = {}
    if "rgb" in config.streams.split(","):
        chosen["rgb"] = (config.encoder, config.weights)
    if config.also_weights is not None:
        chosen["also"] = (config.encoder, config.also_weights)
    if config.with_flow:
        flow_name = flow_variant(config.encoder)
        require(config.flow)
        weights = config.weights_flow or (RANDOM if config.weights == RANDOM else "kinetics400")
        chosen["flow"] = (flow_name, weights)
    return chosen


def flow_settings(decoding: Decoding, device: torch.device, *, threads: int) -> FlowSettings:
    """Return the flow settings; download RAFT's weights if they are missing.

    Args:
        device: the encoder's device; RAFT runs there too.
        threads: processor threads of one process.

    Raises:
        EncoderError: the weights cannot be downloaded; the message says what to do by hand.
    """
    if decoding.flow != "raft":
        return FlowSettings(method=decoding.flow, threads=threads)
    weights = decoding.raft_weights
    if weights != RANDOM:
        weights = str(locate(weights, RAFT_WEIGHTS)[0])
    on_cpu = device.type == "cpu"
    return FlowSettings(method="raft", weights=weights, device=str(device), threads=threads if on_cpu else 1)


def features_spec(config: ExtractConfig, encoder: AnyEncoder) -> StoreSpec:
    """Return the spec that all features of a job share."""
    plan = config.plan(encoder.spec)
    if isinstance(encoder, StreamEncoder) and encoder.audio is not None:
        spec = encoder.audio.spec
        spec.require_window(AudioSettings(rate=spec.sample_rate, alone=False).samples(plan))
    if not isinstance(encoder, StreamEncoder):
        channels, about, weights = encoder.spec.feature_dim, encoder.spec.as_dict(), _weights(encoder.weights)
    else:
        channels, about = encoder.feature_dim, _about(config, encoder)
        weights = {stream: _weights(one.weights) for stream, one in encoder.streams.items()}
    return StoreSpec(
        channels=channels,
        dtype=config.dtype,
        plan=plan,
        encoder=about,
        weights=weights,
        precision=encoder.precision,
        decoder=config.decoder,
    )


def _about(config: ExtractConfig, encoder: StreamEncoder) -> dict[str, Any]:
    """Describe the encoders of several streams, the columns of each, and the definition of flow if there is one."""
    columns, end = [], 0
    for stream, one in encoder.streams.items():
        begin, end = end, end + one.spec.feature_dim
        columns.append({"name": stream, "channels": [begin, end]})
    about: dict[str, Any] = {
        "name": config.encoder,
        "streams": columns,
        "encoders": {stream: one.spec.as_dict() for stream, one in encoder.streams.items()},
    }
    if config.with_flow:
        about["flow"] = {
            "method": config.flow,
            "version": VERSION,
            "bytes": f"128 + 127.5 / {CLAMP_PIXELS} * pixels of the scaled frame, clamped to {CLAMP_PIXELS} pixels",
        }
        if config.flow == "raft":
            about["flow"]["weights"] = _raft_weights(config.raft_weights)
    return about


def _raft_weights(weights: str) -> dict[str, Any]:
    if weights == RANDOM:
        return {"name": RANDOM, "sha256": None, "random": True}
    path = locate(weights, RAFT_WEIGHTS)[0]
    name = weights if weights in RAFT_WEIGHTS else path.name
    return {"name": name, "sha256": file_sha256(path), "random": False}


def _weights(weights: WeightsInfo) -> dict[str, Any]:
    return {
        "name": weights.name,
        "sha256": weights.sha256,
        "random": weights.random,
        "seed": weights.seed if weights.random else None,
    }

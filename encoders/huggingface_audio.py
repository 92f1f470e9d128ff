"""Hugging Face models of audio as encoders: hf:REPOSITORY_OR_FOLDER[@REVISION], safetensors only."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor

from encoders.audio import AudioSpec
from encoders.errors import EncoderError
from encoders.hub import CONFIG, INDEX, WEIGHTS, Snapshot, find_snapshot, require
from encoders.huggingface import PREFIX, quiet, told
from encoders.huggingface_networks import read_model
from encoders.weights import WeightsInfo, file_sha256

_EXTRACTORS = ("preprocessor_config.json", "processor_config.json")
_SHORTEST_SECONDS = 0.025


@dataclass(frozen=True)
class AudioFamily:
    """What the audio models of one type have in common.

    Args:
        pool: how its output becomes one vector, in words.
        features: from the model, its inputs, and the share of them that the window fills, to [B, C].
        channels: C, from its configuration.
        longest: the longest window in samples, from its extractor; None: any.
        used: the part of the model that is run.
    """

    pool: str
    features: Callable[[Any, dict[str, Tensor], Fraction], Tensor]
    channels: Callable[[Any], int]
    longest: Callable[[Any], int | None] = lambda extractor: None
    used: Callable[[Any], Any] = lambda model: model


def _waves(model: Any, inputs: dict[str, Tensor], share: Fraction) -> Tensor:
    tokens: Tensor = model(**inputs).last_hidden_state
    return tokens.mean(1)


def _spectrogram(model: Any, inputs: dict[str, Tensor], share: Fraction) -> Tensor:
    pooled: Tensor = model(**inputs).pooler_output
    return pooled


def _embedding(model: Any, inputs: dict[str, Tensor], share: Fraction) -> Tensor:
    output = model.get_audio_features(**inputs)
    embedded: Tensor = output if isinstance(output, Tensor) else output.pooler_output
    return embedded


def _heard_tokens(model: Any, inputs: dict[str, Tensor], share: Fraction) -> Tensor:
    # The input is filled up with silence to 30 seconds: only the tokens of the window itself count.
    tokens: Tensor = model(**inputs).last_hidden_state
    return tokens[:, : math.ceil(share * tokens.shape[1])].mean(1)


def _without_text(model: Any) -> Any:
    if getattr(model.config.audio_config, "enable_fusion", False):
        raise EncoderError("a CLAP model with fusion chooses parts at random; take an unfused one")
    model.text_model = None  # never called
    return model


def _hidden(config: Any) -> int:
    return int(config.output_hidden_size if getattr(config, "add_adapter", False) else config.hidden_size)


_WAVES = AudioFamily("mean over all tokens", _waves, _hidden)
AUDIO_FAMILIES = {
    "audio-spectrogram-transformer": AudioFamily(
        "pooler",
        _spectrogram,
        lambda config: int(config.hidden_size),
        longest=lambda extractor: int(extractor.max_length * extractor.sampling_rate // 100),  # frames of 10 ms
    ),
    "wav2vec2": _WAVES,
    "hubert": _WAVES,
    "wavlm": _WAVES,
    "whisper": AudioFamily(
        "mean over the tokens of the window",
        _heard_tokens,
        lambda config: int(config.d_model),
        longest=lambda extractor: int(extractor.n_samples),
        used=lambda model: model.get_encoder(),
    ),
    "clap": AudioFamily(
        "embed",
        _embedding,
        lambda config: int(config.projection_dim),
        longest=lambda extractor: int(extractor.nb_max_samples),
        used=_without_text,
    ),
}


def open_model(name: str, device: torch.device) -> tuple[Callable[[Tensor], Tensor], AudioSpec, WeightsInfo]:
    """Return a model of audio as a function from samples float32 [B, N] to features [B, C], its spec and weights.

    Args:
        name: hf:FOLDER, or hf:REPOSITORY[@REVISION].

    Raises:
        EncoderError: transformers is not installed; the model is absent, damaged, of another type, or needs code.
    """
    require("transformers", "transformers")
    files = [(CONFIG,), _EXTRACTORS, (WEIGHTS, INDEX)]
    snapshot = find_snapshot(name.removeprefix(PREFIX), files=files)
    kind = str(snapshot.facts(CONFIG).get("model_type"))
    if kind not in AUDIO_FAMILIES:
        raise EncoderError(f"audio model {snapshot.name} must be one of {', '.join(AUDIO_FAMILIES)}, got {kind!r:.40}")
    family, extractor = AUDIO_FAMILIES[kind], _extractor(snapshot)
    rate = int(extractor.sampling_rate)
    sha256 = snapshot.sha256()
    with quiet():
        model = read_model(snapshot, unused=("masked_spec_embed",))
        config = model.config
        used = family.used(model).eval().to(device)
    spec = AudioSpec(
        name=f"{PREFIX}{snapshot.name}",
        version=1,
        feature_dim=family.channels(config),
        sample_rate=rate,
        pool=family.pool,
        source=f"transformers, {kind}; SHA-256 of {CONFIG} {file_sha256(snapshot.folder / CONFIG)[:16]}",
        min_samples=round(_SHORTEST_SECONDS * rate),
        max_samples=family.longest(extractor),
    )

    def encode(samples: Tensor) -> Tensor:
        given = extractor(list(samples.numpy()), sampling_rate=rate, return_tensors="pt")
        share = Fraction(samples.shape[1], spec.max_samples or samples.shape[1])
        return family.features(used, {name: value.to(device) for name, value in given.items()}, share)

    path = str(snapshot.weight_files()[0])
    return encode, spec, WeightsInfo(name="own", path=path, url=None, sha256=sha256, random=False, seed=None)


def _extractor(snapshot: Snapshot) -> Any:
    """Return the feature extractor of a model's folder."""
    from transformers import AutoFeatureExtractor

    there = [name for name in _EXTRACTORS if (snapshot.folder / name).is_file()]
    if not there:
        raise EncoderError(f"model {snapshot.name} has no {' or '.join(_EXTRACTORS)} in {snapshot.folder}")
    for name in there:
        snapshot.facts(name)  # refuses code of its own
    with quiet(), told(snapshot):
        return AutoFeatureExtractor.from_pretrained(snapshot.folder, local_files_only=True, trust_remote_code=False)

"""Tiny audio models of transformers, made from configurations with drawn weights, with their feature extractors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

SIZES = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
RATE = 16000


@dataclass(frozen=True)
class TinyAudio:
    """A model, its extractor, and the library's own way from one wave float32 [N] to one vector."""

    model: Any
    extractor: Any
    documented: Callable[[Any, Any, np.ndarray], torch.Tensor]

    def save(self, folder: Path) -> Path:
        self.model.save_pretrained(folder)
        self.extractor.save_pretrained(folder)
        return folder

    def features(self, samples: np.ndarray) -> torch.Tensor:
        """Return the features [B, C] of samples int16 [B, N], one window at a time."""
        with torch.inference_mode():
            waves = samples.astype(np.float32) / 32768
            return torch.stack([self.documented(self.model, self.extractor, wave) for wave in waves])


def tiny_audio(kind: str) -> TinyAudio:
    """Return a tiny model of a type, the same every time."""
    with torch.random.fork_rng():
        made = MAKERS[kind]()
        torch.manual_seed(0)  # here, since versions of the library draw differently
        for parameter in made.model.parameters():
            torch.nn.init.normal_(parameter, std=0.3)  # else all windows look alike
    made.model.eval()
    return made


def _inputs(extractor: Any, wave: np.ndarray) -> Any:
    return extractor(wave, sampling_rate=RATE, return_tensors="pt")


def _ast() -> TinyAudio:
    import transformers as hf

    config = hf.ASTConfig(max_length=128, num_mel_bins=32, patch_size=16, frequency_stride=10, time_stride=10, **SIZES)
    extractor = hf.ASTFeatureExtractor(num_mel_bins=32, max_length=128)
    return TinyAudio(hf.ASTModel(config), extractor, lambda model, e, wave: model(**_inputs(e, wave)).pooler_output[0])


def _wav2vec2() -> TinyAudio:
    import transformers as hf

    config = hf.Wav2Vec2Config(
        conv_dim=(8, 8, 8),
        conv_stride=(5, 4, 4),
        conv_kernel=(10, 4, 4),
        num_conv_pos_embeddings=16,
        num_conv_pos_embedding_groups=4,
        vocab_size=32,
        **SIZES,
    )

    def documented(model: Any, extractor: Any, wave: np.ndarray) -> torch.Tensor:
        return model(**_inputs(extractor, wave)).last_hidden_state[0].mean(0)

    return TinyAudio(hf.Wav2Vec2Model(config), hf.Wav2Vec2FeatureExtractor(), documented)


def _whisper() -> TinyAudio:
    import transformers as hf

    config = hf.WhisperConfig(
        num_mel_bins=16,
        d_model=16,
        encoder_layers=2,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=32,
        decoder_ffn_dim=32,
        vocab_size=64,
        max_source_positions=100,  # of 20 ms
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        decoder_start_token_id=1,
    )

    def documented(model: Any, extractor: Any, wave: np.ndarray) -> torch.Tensor:
        tokens = model.encoder(_inputs(extractor, wave).input_features).last_hidden_state[0]
        return tokens[: round(len(wave) / RATE / 0.02)].mean(0)

    return TinyAudio(hf.WhisperModel(config), hf.WhisperFeatureExtractor(feature_size=16, chunk_length=2), documented)


def _clap() -> TinyAudio:
    import transformers as hf

    config = hf.ClapConfig(
        text_config={"vocab_size": 64, "max_position_embeddings": 16, **SIZES},
        audio_config={
            "spec_size": 64,
            "num_mel_bins": 16,
            "patch_size": 4,
            "patch_stride": [4, 4],
            "window_size": 2,
            "patch_embeds_hidden_size": 8,
            "depths": [1, 1],
            "num_attention_heads": [2, 2],
            "hidden_size": 16,
            "num_hidden_layers": 2,
            "enable_fusion": False,
        },
        projection_dim=12,
    )
    extractor = hf.ClapFeatureExtractor(
        feature_size=16,
        sampling_rate=RATE,
        max_length_s=2,
        truncation="rand_trunc",
        hop_length=160,
        fft_window_size=400,
    )

    def documented(model: Any, extractor: Any, wave: np.ndarray) -> torch.Tensor:
        return model.get_audio_features(**_inputs(extractor, wave)).pooler_output[0]

    return TinyAudio(hf.ClapModel(config), extractor, documented)


MAKERS: dict[str, Callable[[], TinyAudio]] = {"ast": _ast, "wav2vec2": _wav2vec2, "whisper": _whisper, "clap": _clap}

"""Encoders of audio: log-mel statistics against an independent definition, models against the library's own way."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from encoders.audio import load_audio_encoder
from encoders.errors import EncoderError
from encoders.huggingface_audio import AUDIO_FAMILIES
from encoders.log_mel import BANDS, FFT, FRAME, HIGH_HERTZ, HOP, LOW_HERTZ, OFFSET, RATE, log_mel, mel_filters
from tests.encoders.tiny_audio_models import MAKERS, tiny_audio


def noise(batch: int = 3, samples: int = RATE) -> torch.Tensor:
    """Return samples int16 [B, N] of different loudness and color."""
    random = np.random.default_rng(0)
    waves = random.normal(size=(batch, samples)).cumsum(1) * 40 + random.normal(size=(batch, samples)) * 500
    return torch.from_numpy((waves * np.arange(1, batch + 1)[:, None]).clip(-30000, 30000).astype(np.int16))


def tones(batch: int = 3, samples: int = RATE) -> torch.Tensor:
    """Return samples int16 [B, N]: a tone in some noise, higher and longer from window to window."""
    random, times = np.random.default_rng(0), np.arange(samples)
    waves = [
        3000 * np.sin(2 * np.pi * 300 * 4**k * times / RATE) * (times < samples * (k + 1) / batch) for k in range(batch)
    ]
    return torch.from_numpy((np.array(waves) + 200 * random.normal(size=(batch, samples))).astype(np.int16))


def test_the_filter_bank_and_the_spectrogram_are_those_of_another_library():
    audio_utils = pytest.importorskip("transformers.audio_utils")
    filters = audio_utils.mel_filter_bank(
        num_frequency_bins=FFT // 2 + 1,
        num_mel_filters=BANDS,
        min_frequency=LOW_HERTZ,
        max_frequency=HIGH_HERTZ,
        sampling_rate=RATE,
        norm=None,
        mel_scale="kaldi",
        triangularize_in_mel_space=True,
    )
    np.testing.assert_allclose(mel_filters().numpy(), filters, atol=1e-6)
    wave = noise(1)[0].numpy() / 32768
    window = audio_utils.window_function(FRAME, "hann", periodic=True)
    how = {"frame_length": FRAME, "hop_length": HOP, "fft_length": FFT, "power": 1.0, "center": False}
    expected = audio_utils.spectrogram(wave, window, **how, mel_filters=filters, mel_floor=0.0)
    found = log_mel(torch.from_numpy(wave)[None].float())[0]
    assert found.shape == (98, 64)
    np.testing.assert_allclose(found.numpy().T, np.log(expected + OFFSET), atol=1e-4)


def test_a_tone_is_in_its_band_and_silence_is_the_offset():
    """1000 Hz is mel 1000.0; bands are (2840.0 - 185.1) / 65 = 40.8 apart from 185.1 on: center 20 (19 from 0)."""
    tone = torch.sin(2 * torch.pi * 1000 * torch.arange(RATE) / RATE)[None]
    assert set(log_mel(tone)[0].argmax(1).tolist()) == {19}
    features = load_audio_encoder("logmel").begin(torch.zeros(1, RATE, dtype=torch.int16))()
    assert features.shape == (1, 128)
    torch.testing.assert_close(features[0], torch.cat([torch.full((64,), np.log(0.01)).float(), torch.zeros(64)]))


def test_statistics_are_mean_and_deviation_of_each_band():
    samples = noise()
    encoder = load_audio_encoder("logmel")
    bands = log_mel(samples.float() / 32768).numpy()
    expected = np.concatenate([bands.mean(1), bands.std(1)], 1)
    np.testing.assert_allclose(encoder.begin(samples)().numpy(), expected, atol=1e-5)
    assert "not a trained encoder" in encoder.spec.source
    assert encoder.begin(samples[:0])().shape == (0, 128)


@pytest.mark.parametrize("kind", MAKERS)
def test_features_equal_those_of_the_librarys_own_way(kind, tmp_path):
    model = tiny_audio(kind)
    encoder = load_audio_encoder(f"hf:{model.save(tmp_path / kind)}", device="cpu")
    samples = tones()
    expected = model.features(samples.numpy())
    assert expected.std(0).max() > 1e-3, "the features must tell windows apart"
    torch.testing.assert_close(encoder.begin(samples)(), expected, atol=1e-5, rtol=1e-5)
    assert (encoder.spec.feature_dim, encoder.spec.name) == (expected.shape[1], f"hf:{kind}")
    assert len(encoder.weights.sha256) == 64


def test_every_family_has_a_tiny_model():
    pytest.importorskip("transformers")
    made = {tiny_audio(kind).model.config.model_type for kind in MAKERS}
    assert made == set(AUDIO_FAMILIES) - {"hubert", "wavlm"}  # these are called as wav2vec2 is


def test_windows_that_a_model_would_cut_or_cannot_take_are_refused(tmp_path):
    folder = tiny_audio("whisper").save(tmp_path / "whisper")
    encoder = load_audio_encoder(f"hf:{folder}", device="cpu")
    with pytest.raises(EncoderError, match=r"at least 0\.025 and at most 2 seconds, got 2\.5; give --window-seconds"):
        encoder.begin(noise(1, 40000))
    with pytest.raises(EncoderError, match=r"logmel takes windows of at least 0\.025 seconds, got 0\.01"):
        load_audio_encoder("logmel").begin(noise(1, 160))


def test_other_names_and_models_are_refused(tmp_path):
    with pytest.raises(EncoderError, match="audio_encoder must be logmel, hf:FOLDER"):
        load_audio_encoder("vggish")
    with pytest.raises(EncoderError, match="does not exist"):
        load_audio_encoder(f"hf:{tmp_path / 'none'}")
    for file, text in (("config.json", '{"model_type": "clip"}'), ("preprocessor_config.json", "{}")):
        (tmp_path / file).write_text(text)
    with pytest.raises(EncoderError, match=r"must be one of audio-spectrogram-transformer, .*, got 'clip'"):
        load_audio_encoder(f"hf:{tmp_path}")
    (tmp_path / "config.json").write_text('{"model_type": "wav2vec2", "auto_map": {"AutoModel": "x.Y"}}')
    with pytest.raises(EncoderError, match="needs code of its own"):
        load_audio_encoder(f"hf:{tmp_path}")
    (tmp_path / "config.json").write_text('{"model_type": "wav2vec2"}')
    (tmp_path / "preprocessor_config.json").write_text('{"feature_extractor_type": "Wav2Vec2FeatureExtractor"}')
    (tmp_path / "pytorch_model.bin").write_bytes(b"x")
    with pytest.raises(EncoderError, match=r"weights only as pytorch_model\.bin"):
        load_audio_encoder(f"hf:{tmp_path}")


def test_clap_with_fusion_is_refused():
    model = SimpleNamespace(config=SimpleNamespace(audio_config=SimpleNamespace(enable_fusion=True)))
    with pytest.raises(EncoderError, match="take an unfused one"):
        AUDIO_FAMILIES["clap"].used(model)

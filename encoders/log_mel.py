"""Log-mel spectrograms, and their statistics as features of audio where no trained network is given."""

from __future__ import annotations

import math

import torch
from torch import Tensor

RATE = 16000  # samples a second
FRAME, HOP, FFT = 400, 160, 512  # 25 ms, 10 ms; in samples
BANDS, LOW_HERTZ, HIGH_HERTZ = 64, 125.0, 7500.0
OFFSET = 0.01  # keeps near silence from looking like much


def mel(hertz: float) -> float:
    """Return a frequency on the mel scale: 1127 ln(1 + f / 700)."""
    return 1127.0 * math.log1p(hertz / 700.0)


def mel_filters() -> Tensor:
    """Return the filter bank float32 [257, 64]: triangles of equal width on the mel scale, each from 0 over 1 to 0."""
    edges = torch.linspace(mel(LOW_HERTZ), mel(HIGH_HERTZ), BANDS + 2, dtype=torch.float64)
    bins = torch.tensor([mel(k * RATE / FFT) for k in range(FFT // 2 + 1)], dtype=torch.float64)[:, None]
    rising = (bins - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - bins) / (edges[2:] - edges[1:-1])
    return torch.minimum(rising, falling).clamp(min=0).float()


def log_mel(samples: Tensor) -> Tensor:
    """Return the log-mel spectrogram float32 [B, frames, 64]; frames lie inside the window, nothing is padded.

    Args:
        samples: float32 [B, N], from -1 to 1, 16000 a second, N >= 400.

    Source: Hershey et al. 2017, CNN Architectures for Large-Scale Audio Classification, section 2 (25 ms frames, 10 ms
        apart, 64 bands, log of magnitudes with an offset); the range of frequencies as its published code has it.
    """
    window = torch.hann_window(FRAME, device=samples.device)
    magnitudes = torch.fft.rfft(samples.unfold(1, FRAME, HOP) * window, FFT).abs()
    return torch.log(magnitudes @ mel_filters().to(samples.device) + OFFSET)


def log_mel_statistics(samples: Tensor) -> Tensor:
    """Return features float32 [B, 128]: the mean of each band over time, then its standard deviation.

    Args:
        samples: as for `log_mel`.
    """
    bands = log_mel(samples)
    return torch.cat([bands.mean(1), bands.std(1, correction=0)], 1)

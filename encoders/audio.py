"""Encoders of audio: the samples of a snippet's window in, one vector out; always in fp32."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from encoders import log_mel
from encoders.errors import EncoderError
from encoders.runtime import resolve_device
from encoders.weights import WeightsInfo

LOG_MEL = "logmel"
CPU_BATCH_SIZE, GPU_BATCH_SIZE = 2, 32
_LOUDEST = 32768.0  # the scale of 16-bit samples


@dataclass(frozen=True, kw_only=True)
class AudioSpec:
    """The definition of an audio encoder.

    Args:
        name: logmel, or hf:… with the commit.
        version: number of this definition; it rises when features would change.
        feature_dim: C.
        sample_rate: samples a second; one channel, the mean of all.
        pool: how the window's features become one vector.
        source: paper and reference implementation, one line.
        min_samples, max_samples: of a window, for the encoder to take it whole; no maximum: None.
    """

    name: str
    version: int
    feature_dim: int
    sample_rate: int
    pool: str
    source: str
    min_samples: int
    max_samples: int | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the fields that define the features, as JSON-ready values."""
        values = asdict(self)
        del values["min_samples"], values["max_samples"]
        return values

    def require_window(self, samples: int) -> None:
        """Raise EncoderError if the encoder cannot take a window of this length whole."""
        most = self.max_samples
        if samples < self.min_samples or (most is not None and samples > most):
            bounds = f"at least {self.min_samples / self.sample_rate:.4g}"
            bounds += f" and at most {most / self.sample_rate:.4g}" if most is not None else ""
            raise EncoderError(
                f"audio encoder {self.name} takes windows of {bounds} seconds, got {samples / self.sample_rate:.4g}; "
                "give --window-seconds"
            )


class AudioEncoder:
    """A frozen encoder of audio.

    Attributes:
        spec: the format of its input and output.
        weights: its weights; those of logmel are none.
        device: its device.
        precision: "fp32".
        batch_size: B of every forward pass; smaller batches are padded with silence.
        notes: remarks for the user.
    """

    precision = "fp32"

    def __init__(
        self,
        network: Callable[[Tensor], Tensor],
        *,
        spec: AudioSpec,
        weights: WeightsInfo,
        device: torch.device,
        batch_size: int | None = None,
    ) -> None:
        self._network = network
        self.spec = spec
        self.weights = weights
        self.device = device
        self.batch_size = batch_size or (GPU_BATCH_SIZE if device.type == "cuda" else CPU_BATCH_SIZE)
        self.notes: tuple[str, ...] = ()

    def begin(self, samples: Tensor) -> Callable[[], Tensor]:
        """Start to encode, and return a function that waits for the features float32 [B, C], on the CPU.

        Args:
            samples: int16 [B, N]: the windows of B snippets, `spec.sample_rate` a second; any B, also 0.

        Raises:
            EncoderError: the dtype is another, or the window too short or too long.
        """
        if samples.dtype != torch.int16 or samples.ndim != 2:
            raise EncoderError(f"audio for {self.spec.name} must be int16 [B, N], got {samples.dtype} {samples.shape}")
        self.spec.require_window(samples.shape[1])
        found = [self._forward(part) for part in samples.split(self.batch_size)] if len(samples) else []
        return lambda: torch.cat([part.cpu() for part in found]) if found else torch.zeros(0, self.spec.feature_dim)

    @torch.inference_mode()
    def _forward(self, samples: Tensor) -> Tensor:
        padded = samples.new_zeros((self.batch_size, samples.shape[1]))
        padded[: len(samples)] = samples
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):  # fp32 is real fp32, as for pictures
            features = self._network(padded.float() / _LOUDEST)
        return features[: len(samples)].float()


def load_audio_encoder(name: str, *, device: str = "auto", batch_size: int | None = None) -> AudioEncoder:
    """Return an encoder of audio, ready to run.

    Args:
        name: "logmel", or hf:… (see `encoders.huggingface_audio`).
        device: "auto", "cpu", "cuda" or "cuda:N".
        batch_size: snippets in one forward pass; None chooses by device.

    Raises:
        EncoderError: no such encoder, model or weights.
    """
    target = resolve_device(device)
    if name.startswith("hf:"):
        from encoders.huggingface_audio import open_model

        network, spec, weights = open_model(name, target)
    elif name == LOG_MEL:
        network, spec, weights = log_mel.log_mel_statistics, _LOG_MEL_SPEC, _NO_WEIGHTS
        target = torch.device("cpu")  # it takes less time than the way to a GPU
    else:
        raise EncoderError(f"audio_encoder must be {LOG_MEL}, hf:FOLDER or hf:OWNER/NAME[@REVISION], got {name!r}")
    return AudioEncoder(network, spec=spec, weights=weights, device=target, batch_size=batch_size)


_LOG_MEL_SPEC = AudioSpec(
    name=LOG_MEL,
    version=1,
    feature_dim=2 * log_mel.BANDS,
    sample_rate=log_mel.RATE,
    pool="mean and standard deviation of each band",
    source="statistics of a log-mel spectrogram (Hershey et al. 2017); not a trained encoder",
    min_samples=log_mel.FRAME,
)
_NO_WEIGHTS = WeightsInfo(name=LOG_MEL, path=None, url=None, sha256="", random=False, seed=None)

"""Encoders of several streams of a video: RGB, RGB of other weights, flow, audio; concatenated features out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

import torch
from torch import Tensor

from encoders.audio import AudioEncoder
from encoders.encoder import Encoder
from encoders.errors import EncoderError
from encoders.frame_batch import FrameBatch
from encoders.spec import EncoderSpec
from encoders.weights import WeightsInfo

PictureStream = Literal["rgb", "also", "flow"]  # also: RGB too, of other weights
Stream = Literal[PictureStream, "audio"]
PLACES: dict[PictureStream, slice] = {"rgb": slice(0, 3), "also": slice(0, 3), "flow": slice(3, 5)}  # its channels
SHARED = ("fps", "window_frames", "num_frames", "short_side", "crop_size", "fixed_size")


class StreamEncoder:
    """One encoder for each stream, used as one; their features are concatenated in their order.

    Args:
        pictures: the encoders of pictures by stream, in the order of the features.
        audio: that of audio; its features come last.
        frames: without pictures, the spec of the encoder whose snippets the rows of audio follow.

    Attributes:
        pictures, audio: as given.
        streams: all encoders by stream.
        spec: of the flow stream, else of the first, or `frames`; all streams of pictures choose, stack, scale and crop
            frames in the same way.
        weights: of the first stream, or of one with random weights; each stream has its own.
        device: of all streams.
        precision: of the first stream.
        batch_size: B of the forward passes.
    """

    def __init__(
        self,
        pictures: Mapping[PictureStream, Encoder],
        audio: AudioEncoder | None = None,
        *,
        frames: EncoderSpec | None = None,
    ) -> None:
        self.pictures, self.audio = dict(pictures), audio
        self.streams: dict[Stream, Encoder | AudioEncoder] = {}
        for picture_stream, one in self.pictures.items():
            self.streams[picture_stream] = one
        if audio is not None:
            self.streams["audio"] = audio
        if self.pictures:
            frames = self.pictures["flow" if "flow" in self.pictures else next(iter(self.pictures))].spec
        assert frames is not None, "audio alone needs the spec of frames"
        self.spec = frames
        for stream, encoder in self.pictures.items():
            if encoder.spec.modality != ("flow" if stream == "flow" else "rgb"):
                raise EncoderError(
                    f"encoder {encoder.spec.name} takes {encoder.spec.modality}, it cannot be the stream {stream}"
                )
            _refuse_other_frames(encoder.spec, self.spec)
        first = next(iter(self.streams.values()))
        random = [encoder.weights for encoder in self.streams.values() if encoder.weights.random]
        self.weights: WeightsInfo = (random or [first.weights])[0]
        self.device = first.device
        self.precision = first.precision

    @property
    def feature_dim(self) -> int:
        """Return C, the length of one feature vector."""
        return sum(encoder.spec.feature_dim for encoder in self.streams.values())

    @property
    def snippet_shape(self) -> tuple[int, int, int, int]:
        """Return (F * L, H, W, 5), without flow (F * L, H, W, 3): the shape of one snippet of pictures."""
        return *self.spec.snippet_shape[:3], max((PLACES[stream].stop for stream in self.pictures), default=3)

    @property
    def batch_size(self) -> int:
        """Return the smallest batch size of the streams of pictures, else that of audio; falls when memory runs out."""
        return min(encoder.batch_size for encoder in self.pictures.values() or self.streams.values())

    @property
    def notes(self) -> tuple[str, ...]:
        """Return remarks for the user on how the streams run."""
        return tuple(f"{stream}: {note}" for stream, encoder in self.streams.items() for note in encoder.notes)

    def encode(self, pictures: Tensor | FrameBatch, audio: Tensor | None = None) -> Tensor:
        """Return the features float32 [B, C] of B snippets, on the CPU, with the streams concatenated.

        Args:
            pictures: RGB of each frame, and its flow if a stream takes it, scaled and cropped, uint8
                [B, F * L, H, W, 5 or 3]; any B, also 0. Not read without a stream of pictures.
            audio: samples int16 [B, N], for a stream of audio.
        """
        return self.begin(pictures, audio)()

    def begin(self, pictures: Tensor | FrameBatch, audio: Tensor | None = None) -> Callable[[], Tensor]:
        """Start `encode`, and return a function that waits for the features and returns them."""
        begun = [encoder.begin(self._part(stream, pictures)) for stream, encoder in self.pictures.items()]
        if self.audio is not None:
            assert audio is not None, "a stream of audio takes samples"
            begun.append(self.audio.begin(audio))
        return lambda: torch.cat([wait() for wait in begun], 1)

    def _part(self, stream: PictureStream, pictures: Tensor | FrameBatch) -> Tensor | FrameBatch:
        """Return a stream's input: its channels, and only the middle of each stack if it takes single frames."""
        stack, own = self.spec.stack, self.pictures[stream].spec.stack
        step = slice(None) if own == stack else slice(stack // 2, None, stack)
        if isinstance(pictures, FrameBatch):
            return FrameBatch(pictures.frames[..., PLACES[stream]].contiguous(), pictures.places[:, step].contiguous())
        return pictures[:, step][..., PLACES[stream]].contiguous()


def _refuse_other_frames(spec: EncoderSpec, other: EncoderSpec) -> None:
    """Raise EncoderError if two streams take different frames, or frames of another size."""
    differing = [name for name in SHARED if getattr(spec, name) != getattr(other, name)]
    if differing or spec.stack not in (1, other.stack):
        sizes = ", ".join(f"{getattr(spec, name)} and {getattr(other, name)}" for name in differing or ["stack"])
        raise EncoderError(
            f"{spec.name} and {other.name} do not go together: they differ in {differing or 'stack'} ({sizes}). All "
            "streams take the same frames of one size; for weights trained here, pretrain --size sets it"
        )

"""The options of `extract`: each is written once, with its unit and default."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from fractions import Fraction
from hashlib import sha256
from typing import Annotated, ClassVar, Literal

from cyclopts import Parameter

from encoders.spec import EncoderSpec
from pipeline.cluster.config import ExtractExecutionConfig
from pipeline.errors import PipelineError
from pipeline.snippets import SnippetPlan, exact
from pipeline.video.limits import DecodeLimits

FLAT = Parameter(name="*")  # its options stand among the stage's own, on the command line and in files
DEFAULT_STRIDE_FRAMES = 16  # the field's usual distance, at the encoder's own rate


FlowMethod = Literal["tvl1", "raft"]
Decoder = Literal["auto", "decord", "pyav", "torchcodec", "torchcodec:cuda"]  # that of pipeline.video.decode
DecoderName = Literal["auto", "decord", "pyav", "torchcodec"]


@dataclass(frozen=True)
class Decoding:
    """How videos are decoded: by which decoder, in how many processes, until when; and how flow is estimated."""

    decoder: Decoder = "auto"
    workers: int | None = None
    limits: DecodeLimits = field(default_factory=DecodeLimits)
    flow: FlowMethod = "tvl1"
    raft_weights: str = "raft_large"


@dataclass(frozen=True)
class Retries:
    """Whether videos that have failed are tried again, and how often."""

    retry_failed: bool = False
    max_attempts: int = 3


@dataclass(frozen=True, kw_only=True)
class ExtractConfig:
    """How raw videos become feature sequences."""

    ADDED: ClassVar[tuple[str, ...]] = ("pool", "also_weights", "frame_rate", "decode_device", "audio_encoder")

    encoder: str = "i3d_r50"
    """Snippet encoder; `sola-pipeline encoders` lists them. A Hugging Face model: hf:FOLDER or
    hf:OWNER/NAME[@REVISION]. A model of timm: timm:NAME. Your own network: path/to/file.py:name."""

    weights: str = "kinetics400"
    """Published weights by name, a weight file, a URL with a hash (https://…/name-0123abcd.pth, or any other followed
    by #sha256=…), or "random" (for trials; the store records it)."""

    also_weights: str | None = None
    """Weights of a second encoder of the same kind, as --weights. A row is then [first | second], both of the same
    frames: for example trained on classes and on boundaries (`pretrain --task bsp`)."""

    pool: str | None = None
    """How the tokens of hf:… and timm:… become one vector: embed, pooler, cls, mean, as the model allows. Default: the
    model's own way."""

    seed: int = 0
    """Seed of random weights; only used with --weights random."""

    fps: float | Literal["video"] | None = None
    """Frames per second that the encoder sees. Default: as it was trained. "video": each video's own frame rate, as for
    many published features; --window-frames and --stride-frames then count frames of the video."""

    streams: Literal["rgb", "flow", "audio", "rgb,flow", "rgb,audio", "flow,audio", "rgb,flow,audio"] = "rgb"
    """What the encoders take: pictures (rgb), optical flow (flow), audio, or several. With several, a row is [rgb |
    flow | audio], each from its own encoder, all of the same seconds. Flow takes one to two seconds of a core for each
    frame; it uses all cores. audio alone has the rows that --encoder would have."""

    audio_encoder: str = "logmel"
    """Encoder of audio: a Hugging Face model, hf:FOLDER or hf:OWNER/NAME[@REVISION] (AST, wav2vec2, HuBERT, WavLM,
    Whisper, CLAP), or logmel: mean and deviation of 64 log-mel bands. logmel is no trained encoder."""

    weights_flow: str | None = None
    """Weights of the flow stream's encoder, as --weights. Default: kinetics400, or random with --weights random."""

    flow: FlowMethod = "tvl1"
    """How to estimate flow: TV-L1 (OpenCV; published flow encoders were trained on it), or RAFT (torchvision)."""

    raft_weights: str = "raft_large"
    """Weights of RAFT: raft_large, raft_small, a file of torchvision's, or "random" (for trials)."""

    window_seconds: float | None = None
    """Length of a snippet in seconds. Default: as the encoder was trained."""

    window_frames: float | None = None
    """The same in frames at the encoder's rate (30 per second for Kinetics networks)."""

    stride_seconds: float | None = None
    """Distance between the starts of two snippets in seconds. Default: 16 frames at the encoder's rate."""

    stride_frames: float | None = None
    """The same in frames at the encoder's rate."""

    tail: Literal["pad", "drop"] = "pad"
    """If the video ends inside the last snippet: repeat the last frame (pad), or leave the snippet out (drop)."""

    dtype: Literal["float32", "float16"] = "float32"
    """Type of the stored features."""

    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """Arithmetic of the encoder; auto uses the fastest that the hardware has and that agrees with fp32."""

    compile: bool = False
    """Compile the encoder first. It takes about a minute and pays off in long jobs."""

    device: str = "auto"
    """Where the encoder runs: auto (all GPUs, or the processor), cpu, cuda, cuda:1, or several: cuda:0,cuda:1."""

    batch_size: int | None = None
    """Snippets to encode at once. Default: chosen for the device."""

    decoder: DecoderName = "auto"
    """Video decoder; auto is PyAV. decord only takes files on which it is exact. It decodes ahead without limit, and
    keeps a core busy while it waits. torchcodec needs the extra [torchcodec] and FFmpeg's shared libraries."""

    decode_device: Literal["cpu", "cuda"] = "cpu"
    """Where torchcodec decodes: cpu, or cuda for the decoders of an NVIDIA card."""

    workers: int | None = None
    """Number of decoder processes. Default: chosen for the machine."""

    timeout_seconds: float = 120.0
    """Give up a video whose decoder makes no progress for this long."""

    max_corrupt: float = 0.05
    """Fail a video if more than this share of its frames is damaged, 0 to 1."""

    ids: Literal["stem", "path"] = "stem"
    """A video's id: its file name without the suffix (stem), or its path below the given folder (path)."""

    frame_rate: float | None = None
    """Take folders of numbered pictures (img_00001.jpg, …, .jpg or .png) as videos, at this many pictures a second."""

    shard: str = "1/1"
    """Do only part i of n: "i/n", i from 1 to n. For job arrays. The hash of its id decides a video's part, so it keeps
    its part when others are added."""

    retry_failed: bool = False
    """Try videos again that failed before."""

    max_attempts: int = 3
    """With --retry-failed: skip a video that has failed this often."""

    execution: Annotated[ExtractExecutionConfig, FLAT] = field(default_factory=ExtractExecutionConfig)

    def __post_init__(self) -> None:
        for unit in ("window", "stride"):
            seconds, frames = getattr(self, f"{unit}_seconds"), getattr(self, f"{unit}_frames")
            if seconds is not None and frames is not None:
                raise PipelineError(f"give {unit}_seconds or {unit}_frames, not both; got {seconds} and {frames}")
            if seconds is not None and self.fps == "video":
                raise PipelineError(f"with fps='video' give {unit}_frames, not {unit}_seconds (got {seconds})")
        if isinstance(self.fps, str) and self.fps != "video":
            raise PipelineError(f"fps must be a number of frames a second, or 'video', got {self.fps!r}")
        positive = ("window_seconds", "window_frames", "stride_seconds", "stride_frames")
        for name in (*positive, "batch_size", "workers", "timeout_seconds", "max_attempts", "frame_rate"):
            value = getattr(self, name)
            # The comparison is this way round so that NaN is refused too.
            if value is not None and not 0 < value < float("inf"):
                raise PipelineError(f"{name} must be > 0, got {value}")
        if isinstance(self.fps, (int, float)) and not 0 < self.fps < float("inf"):
            raise PipelineError(f"fps must be > 0, got {self.fps}")
        if not 0 <= self.max_corrupt <= 1:
            raise PipelineError(f"max_corrupt must be a share from 0 to 1, got {self.max_corrupt}")
        self._check_streams()
        if self.decode_device == "cuda" and self.decoder != "torchcodec":
            raise PipelineError(f"decode_device 'cuda' needs decoder 'torchcodec', got {self.decoder!r}")
        self.part()

    def _check_streams(self) -> None:
        with_rgb = "rgb" in self.streams.split(",")
        if not with_rgb and self.weights not in ("kinetics400", "random"):
            instead = "give weights_flow, not weights" if self.with_flow else "weights has no effect"
            raise PipelineError(f"with streams={self.streams!r} {instead} (got {self.weights})")
        if not with_rgb and self.also_weights is not None:
            raise PipelineError(f"also_weights needs rgb among the streams, got {self.streams!r}")
        if not self.with_flow and self.weights_flow is not None:
            raise PipelineError(f"weights_flow needs flow among the streams, got {self.streams!r}")
        if not self.with_audio and self.audio_encoder != "logmel":
            raise PipelineError(f"audio_encoder needs audio among the streams, got {self.streams!r}")
        if self.with_audio and self.fps == "video":
            raise PipelineError("with audio give fps as a number: windows must be equally long in all videos")

    @property
    def with_flow(self) -> bool:
        """Whether flow is among the streams."""
        return "flow" in self.streams.split(",")

    @property
    def with_audio(self) -> bool:
        """Whether audio is among the streams."""
        return "audio" in self.streams.split(",")

    @property
    def decoding(self) -> Decoding:
        """What decoding needs of these options."""
        limits = DecodeLimits(timeout_seconds=self.timeout_seconds, max_corrupt=self.max_corrupt)
        decoder: Decoder = "torchcodec:cuda" if self.decode_device == "cuda" else self.decoder
        return Decoding(decoder, self.workers, limits, self.flow, self.raft_weights)

    @property
    def retries(self) -> Retries:
        """What to do about videos that have failed."""
        return Retries(self.retry_failed, self.max_attempts)

    def part(self) -> tuple[int, int]:
        """The shard as (i, n), 1 <= i <= n."""
        match = re.fullmatch(r"([0-9]+)/([0-9]+)", self.shard)
        if match is None or not 1 <= int(match[1]) <= int(match[2]):
            raise PipelineError(f"shard must be i/n with 1 <= i <= n, such as 2/8, got {self.shard!r}")
        return int(match[1]), int(match[2])

    def is_mine(self, video_id: str) -> bool:
        """Whether a video belongs to this shard."""
        part, parts = self.part()
        digest = sha256(video_id.encode("utf-8", "surrogateescape")).digest()
        return int.from_bytes(digest[:8], "big") % parts == part - 1

    def plan(self, spec: EncoderSpec) -> SnippetPlan:
        """How videos are cut into snippets for the encoder `spec`."""
        fps = exact(self.fps) if isinstance(self.fps, (int, float)) else exact(spec.fps)
        return SnippetPlan(
            fps=None if self.fps == "video" else fps,
            window_frames=_frames(self.window_seconds, self.window_frames, fps, default=spec.window_frames),
            stride_frames=_frames(self.stride_seconds, self.stride_frames, fps, default=DEFAULT_STRIDE_FRAMES),
            num_frames=spec.num_frames,
            tail=self.tail,
            stack=spec.stack,
            flow=self.with_flow,
        )


def _frames(seconds: float | None, frames: float | None, fps: Fraction, *, default: float) -> Fraction:
    if seconds is not None:
        return exact(seconds) * fps
    return exact(default if frames is None else frames)

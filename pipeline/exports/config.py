"""The settings of export and import. Each option is written once, here, with its unit and default."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pipeline.annotations.segments import TOLERANCE_SECONDS, check_tolerance
from pipeline.errors import PipelineError

Consumer = Literal["opentad", "actionformer", "gtad", "fiftyone"]


def check_prefix(prefix: str) -> None:
    """Raise PipelineError unless a prefix stays within the name of a file."""
    if not prefix.isprintable() or "/" in prefix or "\\" in prefix or prefix.startswith(".") or len(prefix) > 40:
        raise PipelineError(f"prefix must be the start of a file name, at most 40 letters, got {prefix!r:.80}")


@dataclass(frozen=True, kw_only=True)
class ExportConfig:
    """What is exported for whom."""

    to: Consumer
    """The toolkit to write for."""

    train: str = "training"
    """Subset of the annotations that the toolkit trains on (THUMOS14: validation)."""

    val: str = "validation"
    """Subset of the annotations that the toolkit validates on (THUMOS14: test)."""

    tolerance_seconds: float = TOLERANCE_SECONDS
    """How far a segment of the two subsets may overshoot its video: this much, or 1 % of the duration if that is more.
    It is clipped. One that overshoots by more stops the export."""

    prefix: str = ""
    """Text before the id in the names of feature files, such as ActivityNet's v_ (opentad, actionformer)."""

    resize_snippets: int = 0
    """Resize every video to this many rows, which span it whatever its length, as the toolkits do for ActivityNet and
    HACS: 100 for G-TAD (in the layout of its ActivityNet code), 128 or 192 for the others. 0: keep one row per stride.
    (opentad, actionformer, gtad)"""

    videos: Literal["refer", "link", "copy"] = "refer"
    """Refer to the videos where they are, or link or copy them to the folder data. (fiftyone)"""

    def __post_init__(self) -> None:
        if self.videos != "refer" and self.to != "fiftyone":
            raise PipelineError(f"videos {self.videos} is for fiftyone: the others read features, not videos")
        if self.resize_snippets < 0:
            raise PipelineError(f"resize_snippets must be >= 0, got {self.resize_snippets}")
        if self.resize_snippets and self.to == "fiftyone":
            raise PipelineError("resize_snippets is for opentad, actionformer and gtad: fiftyone gets no features")
        if self.train == self.val:
            raise PipelineError(f"train and val must be two subsets, got {self.train!r} twice")
        check_prefix(self.prefix)
        check_tolerance(self.tolerance_seconds)


@dataclass(frozen=True, kw_only=True)
class ImportConfig:
    """How published features were made; the files themselves do not say it."""

    fps: float | Literal["video", "resized"]
    """Frames per second that the encoder saw. "video": each video's own rate, which the annotations must state (as for
    published THUMOS14 features). "resized": the rows of each video span it evenly (such as 100 rows a video, for
    ActivityNet); the annotations state the durations, and a frame is a row: stride and window are 1."""

    stride_frames: float
    """Distance between the starts of two snippets in frames."""

    window_frames: float
    """Length of a snippet in frames; row 0 covers [0, window)."""

    format: Literal["auto", "npy", "npz", "h5", "pkl", "csv", "pt", "mat"] = "auto"
    """Kind of the files. auto never takes pkl: name it; and csv, pt and mat only where no others are. A pkl file may
    hold NumPy arrays only, a pt file tensors."""

    key: str | None = None
    """Name of the array in an npz, pt or mat file, or in a video's group of an HDF5 file. Default: feats, or the only
    one."""

    prefix: str = ""
    """Text to remove from the start of file names to get the ids, such as ActivityNet's v_."""

    suffixes: tuple[str, ...] = ()
    """Texts to remove from the end of file names, such as _rgb _flow."""

    flow: Path | None = None
    """Folder or file with the flow stream's features of the same videos. A row is then [rgb | flow]."""

    stream_channels: tuple[int, ...] = ()
    """Channels of RGB and of flow where one file has both side by side, such as 1024 1024."""

    stream: Literal["rgb", "flow"] | None = None
    """Keep this stream alone. Needs stream_channels."""

    crops: Literal["mean", "keep"] | None = None
    """If the files have an axis of 10 (or 5) crops: their mean, or all of them side by side as channels."""

    channels_first: bool = False
    """Arrays are C x T, not T x C."""

    encoder: str = "imported"
    """Name of the encoder, for the store's provenance."""

    tail: Literal["pad", "drop"] = "drop"
    """Whether the last snippet of a video was padded or left out."""

    def __post_init__(self) -> None:
        if isinstance(self.fps, str) and self.fps not in ("video", "resized"):
            raise PipelineError(f"fps must be a number of frames a second, 'video' or 'resized', got {self.fps!r}")
        if self.fps == "resized" and (self.stride_frames, self.window_frames) != (1, 1):
            given = f"{self.stride_frames} and {self.window_frames}"
            raise PipelineError(f"with fps='resized' stride_frames and window_frames must be 1, got {given}")
        if self.stream_channels and (len(self.stream_channels) != 2 or min(self.stream_channels) < 1 or self.flow):
            raise PipelineError(
                f"stream_channels must be the channels of RGB and of flow in one file, got {self.stream_channels}"
                f"{' and --flow' if self.flow else ''}"
            )
        if self.stream and not self.stream_channels:
            raise PipelineError(f"stream={self.stream} needs stream_channels: which columns are which")
        for name in ("fps", "stride_frames", "window_frames"):
            value = getattr(self, name)
            if not isinstance(value, str) and not 0 < value < float("inf"):
                raise PipelineError(f"{name} must be > 0, got {value}")

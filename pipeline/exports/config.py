"""The settings of export and import. Each option is written once, here, with its unit and default."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

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
    """The toolkit that is to read the features and annotations."""

    train: str = "training"
    """Subset of the annotations that the toolkit trains on (THUMOS14: validation)."""

    val: str = "validation"
    """Subset of the annotations that the toolkit validates on (THUMOS14: test)."""

    prefix: str = ""
    """Put before the id in the names of feature files, as ActivityNet's v_ (opentad, actionformer)."""

    resize_snippets: int = 0
    """Resize every video to so many rows, which together span it whatever its length, as the toolkits do for
    ActivityNet and HACS: 100 for G-TAD (it then reads the layout of its ActivityNet code), 128 or 192 for the others.
    0: rows as they are, one every stride. (opentad, actionformer, gtad)"""

    videos: Literal["refer", "link", "copy"] = "refer"
    """Refer to the videos where they are, link to them from the folder data, or copy them there. (fiftyone)"""

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


@dataclass(frozen=True, kw_only=True)
class ImportConfig:
    """How published features were made; the files themselves do not say it."""

    fps: float | Literal["video"]
    """Frames a second of the videos that the features were made from, as the encoder saw them; "video": each video's
    own rate, which the annotations must say (published THUMOS14 features are of this kind)."""

    stride_frames: float
    """Distance between the starts of two snippets in frames."""

    window_frames: float
    """Length of a snippet in frames; row 0 is taken to cover [0, window)."""

    format: Literal["auto", "npy", "npz", "h5", "pkl"] = "auto"
    """Kind of the files. pkl must be asked for by name, and may hold nothing but NumPy arrays."""

    key: str | None = None
    """Name of the array in an npz file, or in a video's group of an HDF5 file. Default: feats, or the only one."""

    prefix: str = ""
    """Taken off the names of the files to get the ids, as ActivityNet's v_."""

    channels_first: bool = False
    """Arrays are C x T instead of T x C."""

    encoder: str = "imported"
    """Name of the encoder, for the store's provenance."""

    tail: Literal["pad", "drop"] = "drop"
    """Whether the last snippet of a video was completed or left out."""

    def __post_init__(self) -> None:
        if isinstance(self.fps, str) and self.fps != "video":
            raise PipelineError(f"fps must be a number of frames a second, or 'video', got {self.fps!r}")
        for name in ("fps", "stride_frames", "window_frames"):
            value = getattr(self, name)
            if value != "video" and not 0 < value < float("inf"):
                raise PipelineError(f"{name} must be > 0, got {value}")

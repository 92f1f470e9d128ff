"""The settings of the stages. Each option is written once, with its unit and default.

From here it reaches the command line and its help, TOML files, and the provenance that is saved with results. (The
settings of SoLa are in `sola.config`; those of heads, of evaluation, of ablations, comparisons and
reports in their rooms.)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pipeline.annotations.segments import TOLERANCE_SECONDS, check_tolerance
from pipeline.cluster.config import ExecutionConfig
from pipeline.errors import PipelineError
from pipeline.extraction.config import FLAT, ExtractConfig
from pipeline.heads.config import PostConfig, TrainConfig
from pipeline.metrics.config import EvaluateConfig
from sola.config import FilterName, SolaConfig
from sola.old_names import Renamed

_COMPARISON = Renamed("normalize", {"raw": "none", "centred": "center"})


@dataclass(frozen=True, kw_only=True)
class LocalizeConfig:
    """How a trained model is applied. The encoder and its snippets are the model's own."""

    ADDED: ClassVar[tuple[str, ...]] = (
        *("min_score", "max_detections", "nms", "sigma", "nms_tiou"),
        *("also_weights", "frame_rate", "live_window_seconds", "live_idle_seconds", "audio_encoder"),
        *("decode_device", "live_retry_seconds"),
    )

    encoder: str | None = None
    """Where your own encoder is now: path/to/file.py:name, or hf:FOLDER. Listed encoders are found by name. With
    --query: the encoder of pictures and text, hf:…"""

    weights: str | None = None
    """Where the encoder's weights are now. They must be those the model was trained with. Default: as recorded."""

    also_weights: str | None = None
    """The same for the second encoder of `extract --also-weights`."""

    weights_flow: str | None = None
    """The same for the flow stream."""

    raft_weights: str | None = None
    """The same for RAFT, if it estimates the flow."""

    audio_encoder: str | None = None
    """Where the model's encoder of audio is now: hf:FOLDER. Default: as recorded."""

    min_score: float | Literal["auto"] | None = None
    """Drop detections below this score; auto: below the score of best F1 on the model's validation videos. Default: the
    model's, which is low, since mAP needs weak detections too."""

    max_detections: int | None = None
    """Maximum number of detections of a video, best first. Default: the model's."""

    nms: Literal["soft", "linear", "hard", "none"] | None = None
    """Suppression of overlapping detections of one class: soft (Gaussian decay of scores), linear (decay above
    nms_tiou), hard (removal above nms_tiou), or none. Default: the model's."""

    sigma: float | None = None
    """For nms=soft: width of the decay exp(-tIoU**2 / sigma). Default: the model's."""

    nms_tiou: float | None = None
    """For nms=linear or hard: tIoU above which a weaker detection decays or is removed. Default: the model's."""

    device: str = "auto"
    """Where the encoder and the head run: auto, cpu, cuda, cuda:1, …"""

    decode_device: Literal["cpu", "cuda"] = "cpu"
    """Where torchcodec decodes, for a model of features that it decoded: cpu, or cuda for the decoders of an NVIDIA
    card."""

    batch_size: int | None = None
    """Snippets to encode at once. Default: chosen for the device."""

    timeout_seconds: float = 120.0
    """Give up a video whose decoder makes no progress for this long."""

    max_corrupt: float = 0.05
    """Fail a video if more than this share of its frames is damaged, 0 to 1."""

    ids: Literal["stem", "path"] = "stem"
    """A video's id: its file name without the suffix (stem), or its path below the given folder (path)."""

    frame_rate: float | None = None
    """Take folders of numbered pictures (img_00001.jpg, …, .jpg or .png) as videos, at this many pictures a second."""

    live_window_seconds: float = 60.0
    """With --live: search windows about this long; a detection comes at most about one such time after its action."""

    live_idle_seconds: float = 30.0
    """With --live: a file or a pipe has ended when nothing was written to it for this long."""

    live_retry_seconds: float = 300.0
    """With --live: connect again to a camera or a stream that breaks off; give up after this long without a picture."""

    execution: Annotated[ExecutionConfig, FLAT] = field(default_factory=ExecutionConfig)

    def __post_init__(self) -> None:
        for name in ("live_window_seconds", "live_idle_seconds", "live_retry_seconds"):
            if not 0 < getattr(self, name) < float("inf"):
                raise PipelineError(f"{name} must be > 0, got {getattr(self, name)}")
        # The limits are those of extraction and of training, checked there.
        names = ("min_score", "max_detections", "nms", "sigma", "nms_tiou")
        given = {name: getattr(self, name) for name in names if getattr(self, name) not in (None, "auto")}
        PostConfig(**given)
        ExtractConfig(
            batch_size=self.batch_size,
            timeout_seconds=self.timeout_seconds,
            max_corrupt=self.max_corrupt,
            frame_rate=self.frame_rate,
        )


@dataclass(frozen=True, kw_only=True)
class TsmConfig:
    """How a temporal self-similarity matrix is drawn."""

    RENAMED: ClassVar[Mapping[str, Renamed]] = {"comparison": _COMPARISON}

    max_bins: int = 1500
    """Maximum number of cells along an axis; in a longer video several snippets share a cell."""

    normalize: Literal["none", "center"] = "none"
    """Compare the features as they are (none), or subtract their mean over the video first (center). Centering shows
    more when all features are positive and so nearly parallel."""

    def __post_init__(self) -> None:
        if not 2 <= self.max_bins <= 4000:
            raise PipelineError(f"max_bins must be from 2 to 4000, got {self.max_bins}")


@dataclass(frozen=True, kw_only=True)
class ProbeConfig:
    """How features are measured without a head; the classifier and its training are the published ones."""

    RENAMED: ClassVar[Mapping[str, Renamed]] = {"comparison": _COMPARISON}
    ADDED: ClassVar[tuple[str, ...]] = ("tolerance_seconds", "filters", "rotate", "logistic")

    train_subset: str = "training"
    """Subset of the annotations that the linear classifier learns from."""

    test_subset: str = "validation"
    """Subset that it is tested on."""

    distances: tuple[int, ...] = (1, 2, 4, 8)
    """Measure accuracy within these numbers of snippets of a boundary, and beyond the largest of them (away)."""

    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    """Seeds of the classifier; the result is their mean and standard deviation."""

    stream_channels: tuple[int, ...] = ()
    """Channels of each stream in a row of several (RGB and flow: 1024 1024); each is scaled to unit length by itself.
    Default: as the store says."""

    normalize: Literal["none", "center"] = "none"
    """Classify the features as they are (none, published), or subtract the mean of the training snippets first
    (center). Without centering, features that are nearly parallel cannot be told apart. Either way each row is scaled
    to unit length."""

    weighting: Literal["none", "balanced"] = "none"
    """Weight of training snippets: all the same (none, published), or so that foreground and background have equal
    weight (balanced). Without balance, if videos are nearly all foreground, the classifier always answers
    foreground."""

    filters: tuple[FilterName, ...] | None = None
    """Also measure the first store after these filters, which need no fit (see `enhance`). Default: all, if a store
    with SoLa is among the stores; it must beat them."""

    rotate: bool = False
    """Also measure the first store with its channels turned by a random rotation. It changes no cosine, so scores that
    change tell how far the classifier got, not what the features know."""

    logistic: bool = False
    """Also classify by a logistic regression that has converged, its L2 penalty chosen on training videos. Needs
    scikit-learn: pip install 'sola-pipeline[probe]'."""

    max_videos: int = 1000
    """Maximum number of videos of a subset: they are held in memory. The choice is random, but always the same."""

    tolerance_seconds: float = TOLERANCE_SECONDS
    """How far a segment of the two subsets may overshoot its video: this much, or 1 % of the duration if that is more.
    It is clipped. One that overshoots by more stops the measurement."""

    def __post_init__(self) -> None:
        for name in ("distances", "seeds"):
            if not getattr(self, name):
                raise PipelineError(f"{name} must have at least one entry")
        if min(self.distances) < 1:
            raise PipelineError(f"distances must be >= 1, got {self.distances}")
        if min(self.seeds) < 0:
            raise PipelineError(f"seeds must be >= 0, got {self.seeds}")
        if self.max_videos < 1:
            raise PipelineError(f"max_videos must be >= 1, got {self.max_videos}")
        check_tolerance(self.tolerance_seconds)


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """The input of `run`: videos, the folder of results, and the settings of every stage."""

    ADDED: ClassVar[tuple[str, ...]] = ("filters", "published", "video_scores")

    videos: list[Path]
    """Video files, folders (searched below), or text files of paths."""

    out: Path
    """Folder of results."""

    annotations: Path | None = None
    """Ground truth: a file or folder with labels in any form that `annotations` reads. Without it, `run` ends after
    extract and sola. Without a subset validation in it, a fifth of the training videos is taken for it."""

    use_sola: bool = True
    """Train the head on enhanced features; --no-use-sola uses those of the encoder."""

    baseline: bool = False
    """Also train and evaluate a head without SoLa, in OUT/baseline, to see what SoLa adds."""

    filters: tuple[FilterName, ...] = ()
    """With baseline: also train and evaluate a head on features after each of these filters, which need no fit (see
    `enhance`), in OUT/filters. SoLa must beat them too."""

    published: bool = False
    """With baseline: also fit SoLa as published (the preset hacs), whatever the settings of SoLa are, and train and
    evaluate a head on it, in OUT/published."""

    video_scores: Path | None = None
    """Class scores of whole videos, as for `localize`: they name what the head finds. With --train.class-agnostic."""

    extract: ExtractConfig = field(default_factory=ExtractConfig)

    sola: SolaConfig = field(default_factory=SolaConfig)

    train: TrainConfig = field(default_factory=TrainConfig)

    localize: LocalizeConfig = field(default_factory=LocalizeConfig)

    evaluate: EvaluateConfig = field(default_factory=EvaluateConfig)

    def __post_init__(self) -> None:
        if self.filters and not self.baseline:
            raise PipelineError(f"filters ({', '.join(self.filters)}) are baselines: add --baseline")
        if self.published and not (self.baseline and self.use_sola):
            raise PipelineError("published is one more row beside SoLa and the baseline: add --baseline and --use-sola")
        if self.use_sola and self.train.trains_module:
            raise PipelineError(
                f"train.sola={self.train.sola} trains SoLa inside the head, on features as the encoder gives them; "
                "add --no-use-sola (in a file: use_sola = false)"
            )


@dataclass(frozen=True, kw_only=True)
class CellConfig(RunConfig):
    """The settings of a cell of an ablation: those of `run`, and of the linear evaluation."""

    RENAMED: ClassVar[Mapping[str, Renamed]] = {"probe": Renamed("linear_probe")}
    ADDED: ClassVar[tuple[str, ...]] = ("filters", "published", "video_scores", "filter", "rotate")

    linear_probe: ProbeConfig = field(default_factory=ProbeConfig)

    use_head: bool = True
    """Train and evaluate a head; without one there is the linear evaluation alone."""

    filter: FilterName | None = None
    """Filter the features, in place of SoLa."""

    rotate: bool = False
    """Turn the channels of the features by a random rotation, in place of SoLa: it must change nothing."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.rotate and (self.use_sola or self.filter is not None):
            raise PipelineError("rotate is a row of its own, of plain features: leave out filter and SoLa")
        if self.train.sola != "frozen" and not self.use_head:
            raise PipelineError(f"train.sola={self.train.sola} needs a head to train SoLa with; leave out --no-head")

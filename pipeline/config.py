"""The settings of the stages. Each option is written once, with its unit and default.

From here it reaches the command line and its help, TOML files, and the provenance that is saved with results. (The
settings of SoLa are :class:`sola.config.SolaConfig`, those of the head are in ``pipeline.heads.config``.)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pipeline.annotations.segments import TOLERANCE_SECONDS, check_tolerance
from pipeline.cluster.config import ExecutionConfig
from pipeline.errors import PipelineError
from pipeline.extraction.config import _FLAT, ExtractConfig
from pipeline.heads.config import TrainConfig
from sola.config import SolaConfig
from sola.old_names import Renamed

_COMPARISON = Renamed("normalize", {"raw": "none", "centred": "center"})


@dataclass(frozen=True, kw_only=True)
class LocalizeConfig:
    """How a trained model is applied. The encoder, its snippets and the suppression are the model's own."""

    encoder: str | None = None
    """Where an encoder of your own is now: path/to/file.py:name. Encoders that are listed are found by name."""

    weights: str | None = None
    """Where the encoder's weights are now; they must be those the model was trained with. Default: as recorded."""

    weights_flow: str | None = None
    """The same for the flow stream."""

    raft_weights: str | None = None
    """The same for RAFT, where it estimates the flow."""

    device: str = "auto"
    """Where the encoder and the head run: auto, cpu, cuda, cuda:1, …"""

    batch_size: int | None = None
    """Snippets encoded at once. Default: chosen for the device."""

    timeout_seconds: float = 120.0
    """A video whose decoder makes no progress for this long is given up."""

    max_corrupt: float = 0.05
    """A video fails when more than this share of its frames is damaged."""

    ids: Literal["stem", "path"] = "stem"
    """A video's id: the file's name without suffix, or its path below the folder given."""

    execution: Annotated[ExecutionConfig, _FLAT] = field(default_factory=ExecutionConfig)

    def __post_init__(self) -> None:
        # The limits are those of extraction, checked there.
        ExtractConfig(batch_size=self.batch_size, timeout_seconds=self.timeout_seconds, max_corrupt=self.max_corrupt)


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig:
    """How detections are compared with ground truth."""

    RENAMED: ClassVar[Mapping[str, Renamed]] = {"details": Renamed("diagnose")}
    ADDED: ClassVar[tuple[str, ...]] = ("tolerance_seconds",)

    subset: str = "validation"
    """Subset of the annotations to evaluate on (train/training, val/validation, test/testing), or "all"."""

    protocol: Literal["sola", "activitynet", "actionformer", "opentad", "thumos"] = "sola"
    """Whose choices to follow. sola, this project's own, is ActivityNet's definition on the videos of the subset alone:
    detections of other videos and ground truth of no length are left out, and counted. The others do as their
    published code does: detections of other videos are false positives; ground truth stays as the file has it, beyond
    its video or of no length (missed, but left out by actionformer and opentad); actionformer and opentad remove
    ground truth that repeats within 1 ms; thumos counts Ambiguous segments neither for nor against; sola, activitynet
    and opentad know blocked videos. By all, detections of classes that the ground truth lacks are ignored, and equal
    scores rank by video id, then in the file's order. The result states every choice."""

    blocked_videos: Path | None = None
    """Videos to leave out, as ActivityNet has them: a JSON list of ids, or a text file of one id a line."""

    tolerance_seconds: float = TOLERANCE_SECONDS
    """A segment of the subset may overshoot its video by this much, or by 1 % of the duration where that is more; one
    that does so by more stops the evaluation."""

    tious: tuple[float, ...] = ()
    """tIoU thresholds of a set of your own, beside those of ActivityNet (0.5:0.05:0.95) and THUMOS14 (0.3:0.1:0.7)."""

    diagnose: bool = False
    """Also recall of proposals (AR@AN), mAP by segment length, and the kinds of errors."""

    def __post_init__(self) -> None:
        if self.blocked_videos is not None and self.protocol not in ("sola", "activitynet", "opentad"):
            raise PipelineError(f"blocked_videos must not be given for protocol={self.protocol}, which has none")
        for tiou in self.tious:
            if not 0 < tiou <= 1:
                raise PipelineError(f"tious must be > 0 and <= 1, got {tiou}")
        check_tolerance(self.tolerance_seconds)


@dataclass(frozen=True, kw_only=True)
class TsmConfig:
    """How a temporal self-similarity matrix is drawn."""

    RENAMED: ClassVar[Mapping[str, Renamed]] = {"comparison": _COMPARISON}

    max_bins: int = 1500
    """Most cells along an axis; a longer video is binned, several snippets to a cell."""

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
    ADDED: ClassVar[tuple[str, ...]] = ("tolerance_seconds",)

    train_subset: str = "training"
    """Subset of the annotations that the linear classifier learns from."""

    test_subset: str = "validation"
    """Subset that it is tested on."""

    distances: tuple[int, ...] = (1, 2, 4, 8)
    """Accuracy is taken within so many snippets of a boundary, and beyond the largest of them (away)."""

    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    """Seeds of the classifier; the result is their mean and standard deviation."""

    stream_channels: tuple[int, ...] = ()
    """Channels of each stream where several lie one after the other (RGB and flow: 1024 1024); each is brought to
    unit length by itself. Default: as the store says."""

    normalize: Literal["none", "center"] = "none"
    """Classify the features as they are (none, published), or subtract the mean of the training snippets first
    (center). Without centering, features that are nearly parallel cannot be told apart. Either way each row is scaled
    to unit length."""

    weighting: Literal["none", "balanced"] = "none"
    """What a training snippet counts: each the same (published), or so that foreground and background count alike in
    all, without which videos that are nearly all foreground get a classifier that always says so."""

    max_videos: int = 1000
    """Most videos of a subset, chosen at random but always the same: they are held in memory."""

    tolerance_seconds: float = TOLERANCE_SECONDS
    """A segment of the two subsets may overshoot its video by this much, or by 1 % of the duration where that is
    more (it is clipped); one that does so by more stops the measurement."""

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
class ReportConfig:
    """What a report shows."""

    RENAMED: ClassVar[Mapping[str, Renamed]] = {"most_detections": Renamed("max_detections")}

    tsm_videos: int = 3
    """Videos whose temporal self-similarity is drawn, those with most kinds of actions first."""

    max_detections: int = 100
    """Detections shown of a video, the surest first."""

    linear_evaluation: bool = True
    """Also measure the features without a head, as `linear-probe` does; --no-linear-evaluation saves its time."""

    def __post_init__(self) -> None:
        if self.tsm_videos < 0:
            raise PipelineError(f"tsm_videos must be >= 0, got {self.tsm_videos}")
        if self.max_detections < 1:
            raise PipelineError(f"max_detections must be >= 1, got {self.max_detections}")


@dataclass(frozen=True, kw_only=True)
class AblateConfig:
    """How an ablation is worked through; what is varied stands in its file."""

    annotations: Path | None = None
    """Ground truth in the ActivityNet dialect. Default: as in the file."""

    store: tuple[Path, ...] = ()
    """Feature stores to work on; of several, each is tried. Default: as in the file."""

    videos: tuple[Path, ...] = ()
    """Raw videos, in place of a store: they are extracted once for each setting of [extract]. Default: as in the
    file."""

    jobs: int | None = None
    """Cells worked on side by side, each in a process with its share of the cores. Default: half the cores; with a
    GPU 1."""

    head: bool = True
    """Train a head in each cell and evaluate what it detects; --no-head makes the linear evaluation alone, in a
    fraction of the time."""

    keep_features: bool = False
    """Keep each cell's enhanced features. Without it they are removed when the cell is finished; the module and the
    results stay."""

    execution: Annotated[ExecutionConfig, _FLAT] = field(default_factory=ExecutionConfig)

    def __post_init__(self) -> None:
        if self.jobs is not None and self.jobs < 1:
            raise PipelineError(f"jobs must be >= 1, got {self.jobs}")


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """What `run` is given: inputs, the folder of results, and the settings of every stage."""

    videos: list[Path]
    """Video files, folders (searched below), or text files of paths."""

    out: Path
    """Folder of results."""

    annotations: Path | None = None
    """Ground truth in the ActivityNet dialect. Without it, `run` ends after extract and sola."""

    use_sola: bool = True
    """Train the head on enhanced features; --no-use-sola takes them as the encoder gives them."""

    baseline: bool = False
    """Also train and evaluate a head on the features without SoLa, in OUT/baseline, to see what SoLa adds."""

    extract: ExtractConfig = field(default_factory=ExtractConfig)

    sola: SolaConfig = field(default_factory=SolaConfig)

    train: TrainConfig = field(default_factory=TrainConfig)

    localize: LocalizeConfig = field(default_factory=LocalizeConfig)

    evaluate: EvaluateConfig = field(default_factory=EvaluateConfig)

    def __post_init__(self) -> None:
        if self.use_sola and self.train.trains_module:
            raise PipelineError(
                f"train.sola={self.train.sola} trains SoLa inside the head, on features as the encoder gives them; "
                "add --no-use-sola (in a file: use_sola = false)"
            )


@dataclass(frozen=True, kw_only=True)
class CellConfig(RunConfig):
    """What a cell of an ablation is given: the settings of `run`, and of the linear evaluation beside it."""

    RENAMED: ClassVar[Mapping[str, Renamed]] = {"probe": Renamed("linear_probe")}

    linear_probe: ProbeConfig = field(default_factory=ProbeConfig)

    use_head: bool = True
    """Train and evaluate a head; without one there is the linear evaluation alone."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.train.sola != "frozen" and not self.use_head:
            raise PipelineError(f"train.sola={self.train.sola} needs a head to train SoLa with; leave out --no-head")

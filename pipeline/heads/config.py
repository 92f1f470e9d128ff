"""The options of the localization heads, of their training, and of the step from output to detections."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal, get_args

from pipeline.annotations.segments import TOLERANCE_SECONDS, check_tolerance
from pipeline.errors import PipelineError
from pipeline.heads.option_checks import refuse_other_types, require, require_choice
from pipeline.metrics.protocols import THUMOS_TIOUS
from sola.config import SolaConfig
from sola.old_names import Renamed

# Snippets that a head sees at once; G-TAD scores every pair of start and end among them.
DEFAULT_LIMITS = {"anchor_free": 2304, "gtad": 256, "actionness": 2304}

# How SoLa takes part in the training of a head.
SolaWay = Literal["frozen", "unified", "unified_with_loss", "auxiliary"]
# Options of the module that the training of the head has itself.
_OF_THE_HEAD = ("batch_size", "epochs", "steps", "device", "seed", "checkpoint_every_steps", "log_every_steps")


@dataclass(frozen=True, kw_only=True)
class HeadConfig:
    """The network of a localization head and how ground truth is assigned to its outputs."""

    RENAMED: ClassVar[Mapping[str, Renamed]] = {
        "width": Renamed("embed_dim"),
        "first_range_snippets": Renamed("regression_range"),
        "centre_radius": Renamed("center_sample_radius"),
        "gtad_neighbours": Renamed("gtad_neighbors"),
        "max_train_snippets": Renamed("max_seq_len"),
    }

    kind: Literal["anchor_free", "gtad", "actionness"] = "anchor_free"
    """The head: anchor_free (a pyramid, after ActionFormer), gtad (a graph of snippets, all pairs of start and end), or
    actionness (a snippet classifier and thresholds: quick, and the baseline for the others)."""
    embed_dim: int = 256
    """Channels inside the network; the features are projected to it."""
    levels: int = 6
    """Levels of the pyramid; level l has a stride of 2**l snippets. For kind=anchor_free."""
    block: Literal["attention", "depthwise", "conv"] = "attention"
    """Layers of each level: self-attention in a local window, convolutions of each channel on its own, or full
    convolutions. For kind=anchor_free."""
    kernel: int = 3
    """Kernel of the convolutions, in positions of a level; odd."""
    attention_window: int = 19
    """Number of positions that a position attends to, centered on itself; odd. For block=attention."""
    attention_heads: int = 4
    """Attention heads; divides embed_dim. For block=attention."""
    position: Literal["none", "absolute"] = "none"
    """Position encoding after the projection: none, or sinusoids of the absolute position. For kind=anchor_free."""
    stem_blocks: int = 2
    """Blocks at full length before the pyramid (anchor_free) or before the branches (gtad)."""
    tower_layers: int = 2
    """Hidden layers of the classification and the regression head, shared by all levels (anchor_free), or of the
    snippet classifier (actionness; 0 makes it linear)."""
    dropout: float = 0.1
    """Share of activations dropped in training, 0 to below 1."""
    regression_range: float = 4.0
    """Largest distance, in snippets, from a point to the farther boundary of a segment that level 0 predicts. Each
    further level doubles it; the last level has no limit. For kind=anchor_free."""
    center_sample_radius: float = 1.5
    """Points within this distance of a segment's center are its positives, in strides of the level. For
    kind=anchor_free."""
    focal_alpha: float = 0.25
    """Weight of positives in the focal loss; negatives weigh 1 minus it."""
    focal_gamma: float = 2.0
    """Exponent of the focal loss; larger values give easy points less weight."""
    regression_weight: float = 1.0
    """Weight of the DIoU loss against the focal loss."""
    gtad_neighbors: int = 3
    """Nearest neighbors in feature space that a snippet has semantic edges to. For kind=gtad."""
    gtad_groups: int = 16
    """Groups of the convolutions inside a GCNeXt block; divides embed_dim / 2. For kind=gtad."""
    gtad_samples: int = 16
    """Points to sample along each pair of start and end, including the context. For kind=gtad."""
    gtad_max_duration_snippets: int = 64
    """Longest action, in snippets, that can be found. For kind=gtad."""
    actionness_thresholds: tuple[float, ...] = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
    """Runs of snippets whose class probability reaches one of these become candidates. For kind=actionness."""
    resize_snippets: int = 0
    """Resize every sequence to this many rows first, as is usual for ActivityNet; 0: do not resize."""
    max_seq_len: int = 0
    """Crop longer sequences at random to this many snippets in training; 0: 2304, for kind=gtad 256."""
    max_test_snippets: int = 0
    """Cover longer sequences with windows of this many snippets that overlap by half; 0: 2304, for kind=gtad 256."""

    def __post_init__(self) -> None:
        refuse_other_types(self)
        require_choice(self.kind, "kind", ("anchor_free", "gtad", "actionness"))
        for name, most in (("levels", 24), ("stem_blocks", 100), ("tower_layers", 100)):
            require(getattr(self, name) <= most, name, getattr(self, name), f"<= {most}")
        for name in (
            "embed_dim",
            "levels",
            "attention_heads",
            "gtad_neighbors",
            "gtad_samples",
            "gtad_max_duration_snippets",
        ):
            require(getattr(self, name) >= 1, name, getattr(self, name), ">= 1")
        for name in ("stem_blocks", "tower_layers", "focal_gamma", "regression_weight", "resize_snippets"):
            require(getattr(self, name) >= 0, name, getattr(self, name), ">= 0")
        for name in ("kernel", "attention_window"):
            value = getattr(self, name)
            require(value >= 1 and value % 2 == 1, name, value, "odd and >= 1")
        for name in ("regression_range", "center_sample_radius"):
            require(getattr(self, name) > 0, name, getattr(self, name), "> 0")
        require_choice(self.block, "block", ("attention", "depthwise", "conv"))
        require_choice(self.position, "position", ("none", "absolute"))
        require(0 <= self.dropout < 1, "dropout", self.dropout, ">= 0 and < 1")
        require(0 < self.focal_alpha < 1, "focal_alpha", self.focal_alpha, "> 0 and < 1")
        for name in ("max_seq_len", "max_test_snippets"):
            value = getattr(self, name)
            require(value == 0 or value >= 8, name, value, "0 or >= 8")
        # Settings read from JSON or TOML hold lists; the same settings must be equal.
        thresholds = tuple(self.actionness_thresholds)
        object.__setattr__(self, "actionness_thresholds", thresholds)
        require(
            len(thresholds) > 0 and all(0 < t < 1 for t in thresholds),
            "actionness_thresholds",
            thresholds,
            "one or more numbers > 0 and < 1",
        )
        if self.kind == "anchor_free" and self.block == "attention" and self.embed_dim % self.attention_heads:
            raise PipelineError(
                f"attention_heads must divide embed_dim={self.embed_dim}, got {self.attention_heads}; choose others"
            )

        if self.kind == "gtad" and (self.embed_dim % 2 or (self.embed_dim // 2) % self.gtad_groups):
            raise PipelineError(
                f"gtad_groups must divide half of embed_dim={self.embed_dim}, got {self.gtad_groups}; choose others"
            )

    @property
    def train_limit(self) -> int:
        """Maximum number of snippets of a training crop."""
        return self.max_seq_len or DEFAULT_LIMITS[self.kind]

    @property
    def test_limit(self) -> int:
        """Maximum number of snippets of a window."""
        return self.max_test_snippets or DEFAULT_LIMITS[self.kind]

    @property
    def ranges_snippets(self) -> tuple[tuple[float, float], ...]:
        """For each level, the distances (low, high] of the farther boundary that it predicts, in snippets."""
        highs = [self.regression_range * 2**level for level in range(self.levels - 1)] + [float("inf")]
        return tuple(zip([0.0, *highs[:-1]], highs, strict=True))


@dataclass(frozen=True, kw_only=True)
class PostConfig:
    """The steps from a head's output to the detections of a video."""

    min_score: float = 0.001
    """Drop candidates and detections below this score."""
    pre_nms_topk: int = 2000
    """Number of candidates of a video that enter the suppression, best first."""
    nms: Literal["soft", "linear", "hard", "none"] = "soft"
    """Suppression of overlapping candidates of one class: soft (Gaussian decay of scores), linear (linear decay
    above nms_tiou), hard (removal above nms_tiou), or none."""
    sigma: float = 0.5
    """Width of the Gaussian decay exp(-tIoU**2 / sigma). For nms=soft."""
    nms_tiou: float = 0.5
    """tIoU above which a weaker candidate decays (linear) or is removed (hard)."""
    voting_tiou: float = 0.7
    """Set each detection's boundaries to the mean over candidates of its class with at least this tIoU, weighted by
    score and tIoU; 0: no voting."""
    max_detections: int = 200
    """Maximum number of detections of a video, best first."""
    multiclass: bool = True
    """Suppress within each class only. If off, candidates of all classes suppress each other."""

    def __post_init__(self) -> None:
        refuse_other_types(self)
        require(0 <= self.min_score <= 1, "min_score", self.min_score, "from 0 to 1")
        for name in ("pre_nms_topk", "max_detections"):
            require(getattr(self, name) >= 1, name, getattr(self, name), ">= 1")
        require_choice(self.nms, "nms", ("soft", "linear", "hard", "none"))
        require(self.sigma > 0, "sigma", self.sigma, "> 0")
        for name in ("nms_tiou", "voting_tiou"):
            require(0 <= getattr(self, name) <= 1, name, getattr(self, name), "from 0 to 1")


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """How a head is trained."""

    ADDED: ClassVar[tuple[str, ...]] = ("tolerance_seconds",)
    AS_BEFORE: ClassVar[Mapping[str, Any]] = {"standardize": "channel"}

    epochs: int = 30
    """Passes over the videos (see min_steps_per_epoch)."""
    min_steps_per_epoch: int = 40
    """Minimum number of optimizer steps in an epoch: with few videos, an epoch passes over them several times."""
    batch_size: int = 4
    """Videos in one optimizer step."""
    learning_rate: float = 3e-4
    """Peak learning rate of AdamW, after the warm-up; from there it falls as half a cosine."""
    warmup_epochs: int = 2
    """Epochs over which the learning rate rises from 0."""
    weight_decay: float = 0.05
    """Weight decay of AdamW, for weights but not for biases and norms."""
    max_gradient_norm: float = 1.0
    """Clip gradients to this norm; 0: do not clip."""
    ema_decay: float = 0.999
    """Decay per step of the moving average of the weights, which is what is validated and kept; 0: no average."""
    train_subset: str = "training"
    """Subset of the annotations to learn from (THUMOS14: validation)."""
    validation_subset: str = "validation"
    """Subset whose mean average precision chooses the best epoch (THUMOS14: test, as published)."""
    tolerance_seconds: float = TOLERANCE_SECONDS
    """How far a segment of the two subsets may overshoot its video: this much, or 1 % of the duration if that is more.
    It is clipped. One that overshoots by more stops the training."""
    class_agnostic: bool = False
    """Learn one class, action, whatever the labels: proposals that video-level scores then name."""
    validate_every_epochs: int = 5
    """Epochs between validations; the last epoch is always validated."""
    validation_tious: tuple[float, ...] = THUMOS_TIOUS
    """tIoU thresholds whose mean average precision chooses the best epoch."""
    statistics_videos: int = 500
    """Maximum number of training videos to measure the mean and deviation of the input on."""
    standardize: Literal["stream", "channel"] = "stream"
    """Divide the head's input by one deviation for all channels of a stream (stream), or by each channel's own
    (channel). The latter raises channels that hardly vary, and so the noise in features whose channels differ much."""
    seed: int = 0
    """Seed of the initial weights, the order, the crops and the dropout."""
    device: str = "auto"
    """Where to train: auto (CUDA if available), cpu, cuda, cuda:1, …"""
    sola: SolaWay = "frozen"
    """How SoLa takes part. frozen: not at all; use the features as they are, plain or enhanced. unified: a SoLa module
    in front of the head learns from the head's loss; needs plain features. unified_with_loss: it learns from the
    similarity loss as well. auxiliary: no module; the similarity loss acts on the output of the head's first layer."""
    similarity_weight: float = 1.0
    """Weight of the similarity loss relative to the head's. For sola=unified_with_loss and auxiliary."""
    head: HeadConfig = field(default_factory=HeadConfig)
    """The network."""
    post: PostConfig = field(default_factory=PostConfig)
    """From its output to detections."""
    module: SolaConfig = field(default_factory=SolaConfig)
    """The module, its optimizer and the similarity loss, if sola is not frozen. Epochs, batches, seed and device are
    those of the head's training, and cannot be set here."""

    def __post_init__(self) -> None:
        for name in ("epochs", "min_steps_per_epoch", "batch_size", "validate_every_epochs", "statistics_videos"):
            require(getattr(self, name) >= 1, name, getattr(self, name), ">= 1")
        for name in ("weight_decay", "max_gradient_norm", "warmup_epochs", "seed"):
            require(getattr(self, name) >= 0, name, getattr(self, name), ">= 0")
        require(self.learning_rate > 0, "learning_rate", self.learning_rate, "> 0")
        check_tolerance(self.tolerance_seconds)
        object.__setattr__(self, "validation_tious", tuple(self.validation_tious))
        require(0 <= self.ema_decay < 1, "ema_decay", self.ema_decay, ">= 0 and < 1")
        require_choice(self.sola, "sola", get_args(SolaWay))
        object.__setattr__(self, "module", replace(self.module, adapt=False))  # its steps are those of the head
        require_choice(self.standardize, "standardize", ("stream", "channel"))
        require(self.similarity_weight >= 0, "similarity_weight", self.similarity_weight, ">= 0")
        self._check_module()

    @property
    def trains_module(self) -> bool:
        """Whether a SoLa module is trained inside the network."""
        return self.sola in ("unified", "unified_with_loss")

    def _check_module(self) -> None:
        """Refuse options that have no effect."""
        for name in _OF_THE_HEAD:
            value, default = getattr(self.module, name), getattr(SolaConfig(), name)
            if value != default:
                raise PipelineError(f"module.{name} must stay {default}, got {value}: the head's training has its own")
        if self.sola != "auxiliary":
            return
        # Both describe the features; the output of the head's first layer changes at every step.
        require(self.module.normalize == "none", "module.normalize", self.module.normalize, "none for sola=auxiliary")
        require(self.module.input_weight == 0, "module.input_weight", self.module.input_weight, "0 for sola=auxiliary")
        if self.head.kind == "actionness":
            layers = self.head.tower_layers
            require(layers >= 1, "head.tower_layers", layers, ">= 1 for sola=auxiliary, which acts on the first")

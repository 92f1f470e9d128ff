"""The settings of encoders and untrimmed videos that are made from trimmed clips, each written once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from pipeline.annotations.segments import TOLERANCE_SECONDS, check_tolerance
from pipeline.errors import PipelineError
from pipeline.pretraining.bsp_config import BspConfig
from pipeline.pretraining.pal_config import PalConfig
from pipeline.pretraining.tsp_config import TspConfig
from sola.old_names import Renamed

_SIDE = 112


@dataclass(frozen=True, kw_only=True)
class PretrainConfig:
    """How an encoder is trained."""

    RENAMED: ClassVar[Mapping[str, Renamed]] = {
        "most_segment_seconds": Renamed("max_segment_seconds"),
        "network": Renamed("encoder"),
    }
    ADDED: ClassVar[tuple[str, ...]] = (
        *("tolerance_seconds", "task", "optimizer", "head_learning_rate", "milestones", "frozen_stages"),
        *("tsp", "bsp", "pal", "pool"),
    )

    task: Literal["classify", "tac", "tsp", "bsp", "pal"] = "classify"
    """What the encoder learns. classify: the classes of trimmed clips, or of annotated segments. tac and tsp: the
    classes of the segments of untrimmed videos; tsp also tells segments from the video between them. bsp: where two
    clips are joined, and how. pal: equal features for a region of video that is pasted into two others
    (after PAL); needs no labels."""

    encoder: str = "tsn_r18"
    """The encoder to train, as for `extract`: a listed one (tsn_r18 and x3d_s are small, tsn_r50 and i3d_r50 larger),
    hf:…, timm:… or path/to/file.py:name."""

    weights: str = "random"
    """Weights to start from, as for `extract`: random, a published name, a file, or own, those that hf:…, timm:… or
    your own network bring."""

    pool: str | None = None
    """How tokens become one vector, as for `extract`."""

    size: int | None = None
    """Side of the pictures in pixels; half the side takes a quarter of the time. 0: that of the weights. Default: 112,
    but for hf:…, timm:… and your own network 0."""

    epochs: int = 30
    """Passes over the clips, with a random window of every clip."""

    batch_size: int = 16
    """Clips in one optimizer step."""

    learning_rate: float = 1e-3
    """Peak learning rate, after the warm-up; from there it falls as half a cosine."""

    head_learning_rate: float | None = None
    """Peak learning rate of what is trained beside the encoder, such as its classifier. Default: that of the
    encoder."""

    optimizer: Literal["adamw", "sgd"] = "adamw"
    """How weights move: AdamW, or gradient descent with momentum 0.9."""

    weight_decay: float = 0.05
    """Weight decay of the optimizer."""

    warmup_epochs: float = 2.0
    """Epochs over which the learning rate rises."""

    milestones: tuple[int, ...] = ()
    """Epochs after which the learning rate falls to a hundredth, in place of the cosine."""

    frozen_stages: int = 0
    """Stages of the network that stay as they are, with the statistics of their batch norm, counted from the input. The
    first is the stem."""

    label_smoothing: float = 0.1
    """Share of the target to spread over all classes."""

    test_windows: int = 3
    """Windows of a held-out clip to average for its class."""

    validation_share: float = 0.3
    """Share of the clips to hold out, in whole groups. With --task tac or tsp: share of the videos of the training
    subset that choose the epoch whose weights are kept."""

    group_pattern: str = r"_(g\d+)_"
    """Regular expression that finds a clip's group in its file name: no group is on both sides of the split."""

    train_subset: str = "training"
    """With --annotations: subset whose segments are the clips to learn from. validation_share and group_pattern have no
    effect then, but for --task tac and tsp."""

    validation_subset: str = "validation"
    """With --annotations: subset whose segments are held out. With --task tac or tsp it chooses nothing: what the
    encoder reaches there is only reported at the end."""

    tolerance_seconds: float = TOLERANCE_SECONDS
    """With --annotations: how far a segment of the two subsets may overshoot its video as annotated: this much, or 1 %
    of the duration if that is more. It is clipped. One that overshoots by more stops the training."""

    max_segment_seconds: float = 15.0
    """With --annotations: use only the middle of longer segments, so that the small frames take little space."""

    background: bool = False
    """With --annotations: also learn a class "background" from the video between the segments. Published encoders have
    not seen any."""

    tsp: TspConfig = TspConfig()  # noqa: RUF009 - it is frozen
    """With --task tac or tsp."""

    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """Arithmetic of the forward pass; auto uses bf16 if the hardware has it."""

    device: str = "auto"
    """Where to train: auto, cpu, cuda, cuda:1, …"""

    seed: int = 0
    """Seed of random weights, split, order and augmentation."""

    bsp: BspConfig = BspConfig()  # noqa: RUF009 - it is frozen
    """With --task bsp."""

    pal: PalConfig = PalConfig()  # noqa: RUF009 - it is frozen
    """With --task pal."""

    def __post_init__(self) -> None:
        counts = (("epochs", 1), ("batch_size", 2), ("test_windows", 1), ("seed", 0), ("frozen_stages", 0))
        for name, least in counts:
            if getattr(self, name) < least:
                raise PipelineError(f"{name} must be >= {least}, got {getattr(self, name)}")
        for name in ("learning_rate", "head_learning_rate", "max_segment_seconds"):
            if getattr(self, name) is not None and not 0 < getattr(self, name) < float("inf"):
                raise PipelineError(f"{name} must be > 0, got {getattr(self, name)}")
        for name in ("weight_decay", "warmup_epochs"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise PipelineError(f"{name} must be >= 0, got {getattr(self, name)}")
        check_tolerance(self.tolerance_seconds)
        if list(self.milestones) != sorted(set(self.milestones)) or not all(epoch > 0 for epoch in self.milestones):
            raise PipelineError(f"milestones must be epochs > 0 that rise, got {self.milestones}")
        if not 0 <= self.label_smoothing < 1:
            raise PipelineError(f"label_smoothing must be >= 0 and < 1, got {self.label_smoothing}")
        if self.size not in (None, 0) and self.side < 32:
            raise PipelineError(f"size must be >= 32 pixels, or 0 for that of the weights, got {self.size}")

    @property
    def side(self) -> int:
        """The side of the pictures in pixels, 0 for that of the weights: `size`, or its default."""
        from encoders.catalog import brings_weights  # here, so that `--help` does not load the catalog

        if self.size is not None:
            return self.size
        return 0 if brings_weights(self.encoder) else _SIDE


@dataclass(frozen=True, kw_only=True)
class StitchConfig:
    """How to make untrimmed videos of trimmed clips."""

    RENAMED: ClassVar[Mapping[str, Renamed]] = {"most_action_seconds": Renamed("max_action_seconds")}

    actions: tuple[str, ...] = ()
    """Classes of the clips that are actions. Default: all that are not background."""

    background_classes: tuple[str, ...] = ()
    """Classes of the clips between the actions. Default: all that are not actions."""

    background: Literal["clips", "still", "shuffled", "reversed"] = "clips"
    """What to show between actions: clips of other classes (clips), or clips of the same classes as a still picture
    (still), with frames in random order (shuffled), or backwards (reversed)."""

    videos: int = 60
    """Number of videos."""

    seconds: float = 60.0
    """Mean length of a video; lengths vary by a fifth around it."""

    gap_seconds: tuple[float, float] = (1.0, 8.0)
    """Shortest and longest stretch of background."""

    max_action_seconds: float = 15.0
    """Show only the beginning of longer clips."""

    fade_frames: int = 0
    """Frames of the cross-fade between two clips; 0: hard cuts."""

    fps: float = 25.0
    """Frame rate of the videos."""

    height: int = 240
    """Height of the pictures in pixels; clips are scaled to cover it."""

    width: int = 320
    """Width of the pictures in pixels."""

    validation_share: float = 0.3
    """Share of the clips, and of the videos, for validation."""

    visibility: float = 1.0
    """With --synthetic: how clearly actions stand out from the background, above 0 to 1; at 0.2 they are faint."""

    group_pattern: str = r"_(g\d+)_"
    """Regular expression that finds a clip's group in its file name, as in UCF101 (v_Archery_g08_c01). Clips of a group
    share a scene; no group is on both sides of the split."""

    seed: int = 0
    """Seed of all that is random."""

    def __post_init__(self) -> None:
        for name, least in (("videos", 2), ("seed", 0), ("fade_frames", 0), ("height", 16), ("width", 16)):
            if getattr(self, name) < least:
                raise PipelineError(f"{name} must be >= {least}, got {getattr(self, name)}")
        for name in ("seconds", "max_action_seconds", "fps"):
            if not 0 < getattr(self, name) < float("inf"):
                raise PipelineError(f"{name} must be > 0, got {getattr(self, name)}")
        for name in ("height", "width"):
            if getattr(self, name) % 2:
                raise PipelineError(f"{name} must be even, got {getattr(self, name)}")
        if not 0 < self.visibility <= 1:
            raise PipelineError(f"visibility must be > 0 and <= 1, got {self.visibility}")
        if self.max_action_seconds * self.fps <= 2 * self.fade_frames:
            raise PipelineError(f"max_action_seconds must be longer than two fades, got {self.max_action_seconds}")
        if not 0 < self.gap_seconds[0] <= self.gap_seconds[1]:
            raise PipelineError(f"gap_seconds must be two numbers, 0 < shortest <= longest, got {self.gap_seconds}")

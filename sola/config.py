"""The options of the SoLa module and of its fitting, each written once."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Literal, get_args

from sola.errors import SolaError
from sola.old_names import Renamed, Retired, current_names, stored_settings

Precision = Literal["auto", "fp32", "bf16"]
Device = Literal["auto", "cpu", "cuda"]
Normalization = Literal["none", "center"]
Padding = Literal["zeros", "replicate", "reflect"]
SolaPreset = Literal["hacs"]
FilterName = Literal["mean3", "mean5", "bilateral", "linear"]


@dataclass(frozen=True, kw_only=True)
class SolaConfig:
    """Options of the SoLa module and of similarity matching; the defaults are the published ones, except for padding
    and adapt.

    Raises:
        SolaError: a value is out of range, or two options contradict each other.

    Source: Kang et al., "Soft-Landing Strategy for Alleviating the Task Discrepancy Problem in Temporal
        Action Localization Tasks", CVPR 2023, section 4 and the authors' settings for HACS.
    """

    RENAMED: ClassVar[Mapping[str, Renamed]] = {
        "step": Renamed("position_stride"),
        "start": Renamed("first_position"),
        "size": Renamed("tsm_size"),
        "k": Renamed("target_sharpness"),
        "comparison": Renamed("normalize", {"raw": "none", "centred": "center"}),
    }
    RETIRED: ClassVar[Mapping[str, Retired]] = {
        "gate": Retired("tanh", before="window_snippets"),
        "scales": Retired((1,), before="input_weight"),
    }

    # What modules of versions without these options have.
    AS_BEFORE: ClassVar[Mapping[str, Any]] = {"padding": "zeros", "adapt": False}

    hidden: int = 512
    """Channels of the module's hidden layers."""

    kernel_sizes: tuple[int, ...] = (5, 1, 1)
    """Kernel size in snippets of each convolution, odd; their number is the number of layers."""

    dilations: tuple[int, ...] = (1, 1, 1)
    """Dilation in snippets of each convolution."""

    padding: Padding = "replicate"
    """What the module sees beyond the ends of a video: zeros (published), the snippet at the end again and again
    (replicate), or the video backwards (reflect). Windows of a fit lie inside, so to zeros a fitted module gives an
    answer that it has never learned."""

    window_snippets: int = 23
    """Consecutive snippets in a training window."""

    first_position: int = 4
    """First compared position in the window, counted from 0."""

    position_stride: int = 2
    """Snippets between compared positions."""

    tsm_size: int = 8
    """Number of compared positions: the side of the temporal self-similarity matrix."""

    target_sharpness: float = 16.0
    """Sharpness K of the target sigmoid(K / d²), d the interval in strides: with a larger K, snippets stay alike for
    longer."""

    input_weight: float = 0.0
    """How far the target follows the input, 0 to 1. It measures an interval by time (0, published) or by how much the
    input changes along it (1): then a boundary separates more than the same time inside a segment."""

    input_contrast: float = 2.0
    """Power of a change of the input where the target follows it: the larger, the more a boundary outweighs noise."""

    normalize: Normalization = "none"
    """What to do to features before they are compared: nothing (none, published), or subtract their mean over the data
    (center). Without it, features that are all positive always look alike."""

    predictor: bool = True
    """Compare through a predictor (in training only); without it the loss is symmetric except for the
    stop-gradient."""

    predictor_hidden: int = 512
    """Channels of the predictor's hidden layer."""

    learning_rate: float = 1e-4
    """Learning rate of AdamW."""

    gate_learning_rate: float | None = None
    """Learning rate of the gate's alpha. Default: as for all weights."""

    weight_decay: float = 0.01
    """Decoupled weight decay of AdamW."""

    batch_size: int = 256
    """Windows in an optimizer step, at most; an epoch is split into steps of nearly equal size."""

    epochs: int = 150
    """Passes over the videos, if steps is not given."""

    steps: int | None = None
    """Optimizer steps, in place of epochs; 150 epochs of HACS are about 22,000."""

    windows_per_video: int = 1
    """Windows drawn from each video in an epoch."""

    adapt: bool = True
    """On small data, where the epochs give less than 1,000 steps, take 1,000 steps at a rate of 1e-3 with at least 64
    windows each, where steps, epochs, learning_rate and windows_per_video are as published. --no-adapt: never."""

    precision: Precision = "fp32"
    """Arithmetic of the convolutions in training: fp32, bf16 (autocast), or auto (bf16 if the hardware has it)."""

    device: Device = "auto"
    """Where to train; auto uses CUDA if available."""

    readers: int = 1
    """Steps to read ahead, each by a thread of its own; more help on slow storage."""

    seed: int = 0
    """Seed of the initial weights and of the windows drawn."""

    checkpoint_every_steps: int = 500
    """Optimizer steps between checkpoints."""

    log_every_steps: int = 10
    """Optimizer steps between entries of the training curve."""

    def __post_init__(self) -> None:
        _check_literals(self)
        at_least_one = (
            "hidden", "window_snippets", "position_stride", "tsm_size", "predictor_hidden", "batch_size", "epochs",
            "windows_per_video", "readers", "checkpoint_every_steps", "log_every_steps",
        )  # fmt: skip
        for name in at_least_one:
            _check_integer(self, name, least=1)
        for name in ("first_position", "seed"):
            _check_integer(self, name, least=0)
        if self.steps is not None:
            _check_integer(self, "steps", least=1)
        _check_layers(self.kernel_sizes, self.dilations)
        _check_positive(self, "target_sharpness")
        _check_positive(self, "input_contrast")
        _check_positive(self, "learning_rate")
        if self.gate_learning_rate is not None:
            _check_positive(self, "gate_learning_rate")
        if not 0 <= self.input_weight <= 1:
            raise SolaError(f"input_weight must be from 0 to 1, got {self.input_weight}")
        if not (math.isfinite(self.weight_decay) and self.weight_decay >= 0):
            raise SolaError(f"weight_decay must be >= 0, got {self.weight_decay}")
        if self.positions[-1] >= self.window_snippets:
            raise SolaError(
                f"the last position, first_position + (tsm_size - 1) * position_stride = {self.positions[-1]}, "
                f"must be less than window_snippets, got {self.window_snippets}: lengthen the window or compare fewer "
                "positions"
            )

    @property
    def positions(self) -> tuple[int, ...]:
        """The compared positions of a window."""
        first, stride = self.first_position, self.position_stride
        return tuple(range(first, first + self.tsm_size * stride, stride))

    @property
    def receptive_snippets(self) -> int:
        """The number of snippets that an output of the module depends on."""
        return 1 + sum(dilation * (size - 1) for size, dilation in zip(self.kernel_sizes, self.dilations, strict=True))


def preset(name: str) -> SolaConfig:
    """The configuration of a name; `hacs` is the reference's for HACS, which all defaults but padding and adapt follow.

    Raises:
        SolaError: the name is unknown.
    """
    presets = {"hacs": SolaConfig(padding="zeros", adapt=False)}
    if name not in presets:
        raise SolaError(f"preset must be one of {', '.join(presets)}, got {name!r}")
    return presets[name]


def config_from_dict(values: Mapping[str, Any]) -> SolaConfig:
    """Return the configuration of a mapping that `config_to_dict` and JSON made; current names are read as well.

    A mapping without padding is of a version that had zeros only; settings in files are adapted already. What a retired
    option changed is in the weights that were fitted with it; it is left out.

    Raises:
        SolaError: a name is unknown, or a value is not accepted.
    """
    try:
        values = current_names(SolaConfig, values)
    except ValueError as error:
        raise SolaError(str(error)) from None
    values = {name: value for name, value in values.items() if name not in SolaConfig.RETIRED}
    if values.get("normalize") in ("standardised", "whitened"):
        values["normalize"] = "center"
    known = {field.name for field in fields(SolaConfig)}
    unknown = sorted(set(values) - known)
    if unknown:
        raise SolaError(f"unknown options {', '.join(unknown)}; accepted are {', '.join(sorted(known))}")
    values = {**SolaConfig.AS_BEFORE, **values}
    options: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in values.items()}
    return SolaConfig(**options)


def config_to_dict(config: SolaConfig) -> dict[str, Any]:
    """Return the configuration as a mapping of JSON's types, with the names that files have."""
    return {name: list(v) if isinstance(v, tuple) else v for name, v in stored_settings(config).items()}


def _check_literals(config: SolaConfig) -> None:
    literals = {"precision": Precision, "device": Device, "normalize": Normalization, "padding": Padding}
    for name, literal in literals.items():
        value, accepted = getattr(config, name), get_args(literal)
        if value not in accepted:
            raise SolaError(f"{name} must be one of {', '.join(accepted)}, got {value!r}")


def _check_integer(config: SolaConfig, name: str, *, least: int) -> None:
    value = getattr(config, name)
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise SolaError(f"{name} must be an integer >= {least}, got {value!r}")


def _check_positive(config: SolaConfig, name: str) -> None:
    value = getattr(config, name)
    if not (math.isfinite(value) and value > 0):
        raise SolaError(f"{name} must be > 0, got {value}")


def _check_layers(kernel_sizes: tuple[int, ...], dilations: tuple[int, ...]) -> None:
    if not kernel_sizes or len(kernel_sizes) != len(dilations):
        raise SolaError(
            "kernel_sizes and dilations must have one entry for each layer, "
            f"got {len(kernel_sizes)} kernel sizes and {len(dilations)} dilations"
        )
    if not all(isinstance(value, int) for value in (*kernel_sizes, *dilations)) or len(dilations) > 1000:
        raise SolaError(f"kernel_sizes and dilations must be integers, got {kernel_sizes!r:.80} and {dilations!r:.80}")
    for size in kernel_sizes:
        if size < 1 or size % 2 == 0:
            raise SolaError(f"kernel_sizes must be odd and >= 1, so that a window has a middle, got {kernel_sizes}")
    if min(dilations) < 1:
        raise SolaError(f"dilations must be >= 1, got {dilations}")

"""The options of the SoLa module and of its fitting, each written once."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal, get_args

from sola.errors import SolaError

Precision = Literal["auto", "fp32", "bf16"]
Device = Literal["auto", "cpu", "cuda"]
Gate = Literal["tanh", "linear", "open"]
Comparison = Literal["raw", "centred", "standardised", "whitened"]
SolaPreset = Literal["hacs"]


@dataclass(frozen=True, kw_only=True)
class SolaConfig:
    """Options of the SoLa module and of similarity matching; the defaults are the published ones.

    Raises:
        SolaError: a value is out of range, or two options contradict each other.

    Source: Kang et al., "Soft-Landing Strategy for Alleviating the Task Discrepancy Problem in Temporal
        Action Localization Tasks", CVPR 2023, section 4 and the authors' settings for HACS.
    """

    hidden: int = 512
    """Channels of the module's hidden layers."""

    kernel_sizes: tuple[int, ...] = (5, 1, 1)
    """Kernel size in snippets of each convolution, odd; their number is the number of layers."""

    dilations: tuple[int, ...] = (1, 1, 1)
    """Dilation in snippets of each convolution."""

    gate: Gate = "tanh"
    """Weight of the correction: tanh(alpha), alpha itself (linear), or 1 with a last layer of zeros (open)."""

    window_snippets: int = 23
    """Consecutive snippets in a training window."""

    start: int = 4
    """First compared position in the window, counted from 0."""

    step: int = 2
    """Snippets between compared positions."""

    size: int = 8
    """Number of compared positions: the side of the temporal self-similarity matrix."""

    k: float = 16.0
    """Sharpness K of the target sigmoid(K / d²), d the interval in steps: larger means alike for longer."""

    scales: tuple[int, ...] = (1,)
    """Multiples of `step` that take turns, one an optimizer step, the window growing with them; (1,) is published."""

    input_weight: float = 0.0
    """How far the target listens to the input, 0 to 1: an interval is measured by its steps (0, published) or by
    how much the input changes along it (1), so that a boundary separates more than the same time inside a segment."""

    input_contrast: float = 2.0
    """Power to which a change of the input is raised where the target listens to it: the larger, the more a
    boundary outweighs noise."""

    comparison: Comparison = "raw"
    """What cosines compare: the features (raw, published), or the features less their mean over the data (centred),
    also divided by each channel's deviation (standardised), or decorrelated (whitened). Features that are all
    positive are never unrelated when compared raw."""

    predictor: bool = True
    """Compare through a predictor (training only); without it the loss is symmetric but for the stop-gradient."""

    predictor_hidden: int = 512
    """Channels of the predictor's hidden layer."""

    learning_rate: float = 1e-4
    """Learning rate of AdamW."""

    gate_learning_rate: float | None = None
    """Learning rate of the gate's alpha; none: the same as for all weights."""

    weight_decay: float = 0.01
    """Decoupled weight decay of AdamW."""

    batch_size: int = 256
    """Most windows in an optimizer step; an epoch is cut into steps of nearly equal size."""

    epochs: int = 150
    """Passes over the videos, used when `steps` is not given."""

    steps: int | None = None
    """Optimizer steps, in place of `epochs`; 150 epochs of HACS are about 22,000."""

    windows_per_video: int = 1
    """Windows drawn from each video in an epoch."""

    precision: Precision = "fp32"
    """Arithmetic of the convolutions in training: fp32, bf16 (autocast), or auto (bf16 where hardware has it)."""

    device: Device = "auto"
    """Where to train; auto takes cuda when there is one."""

    readers: int = 1
    """Steps whose windows are read ahead, each by a thread of its own; more help where features lie on slow
    storage."""

    seed: int = 0
    """Seed of the initial weights and of the windows drawn."""

    checkpoint_every_steps: int = 500
    """Optimizer steps between checkpoints."""

    log_every_steps: int = 10
    """Optimizer steps between entries of the training curve."""

    def __post_init__(self) -> None:
        _check_literals(self)
        at_least_one = (
            "hidden", "window_snippets", "step", "size", "predictor_hidden", "batch_size", "epochs",
            "windows_per_video", "readers", "checkpoint_every_steps", "log_every_steps",
        )  # fmt: skip
        for name in at_least_one:
            _check_integer(self, name, least=1)
        for name in ("start", "seed"):
            _check_integer(self, name, least=0)
        if self.steps is not None:
            _check_integer(self, "steps", least=1)
        _check_layers(self.kernel_sizes, self.dilations)
        _check_positive(self, "k")
        _check_positive(self, "input_contrast")
        _check_positive(self, "learning_rate")
        if self.gate_learning_rate is not None:
            _check_positive(self, "gate_learning_rate")
        if not 0 <= self.input_weight <= 1:
            raise SolaError(f"input_weight must be from 0 to 1, got {self.input_weight}")
        if not self.scales or min(self.scales) < 1:
            raise SolaError(f"scales must be one or more multiples of step, each >= 1, got {self.scales}")
        if not (math.isfinite(self.weight_decay) and self.weight_decay >= 0):
            raise SolaError(f"weight_decay must be >= 0, got {self.weight_decay}")
        if self.positions[-1] >= self.window_snippets:
            raise SolaError(
                f"the last compared position, start + (size - 1) * step = {self.positions[-1]}, must be less than "
                f"window_snippets, got {self.window_snippets}: lengthen the window or compare fewer positions"
            )

    @property
    def positions(self) -> tuple[int, ...]:
        """The compared positions of a window."""
        return tuple(range(self.start, self.start + self.size * self.step, self.step))

    def at_scale(self, factor: int) -> "SolaConfig":
        """The configuration with `factor` times the step, and the window as much longer as its positions reach."""
        step = self.step * factor
        window = self.window_snippets + (self.size - 1) * (step - self.step)
        return replace(self, step=step, window_snippets=window, scales=(1,))


def preset(name: str) -> SolaConfig:
    """The configuration of a name; `hacs` is the reference's for HACS, which all defaults follow.

    Raises:
        SolaError: the name is unknown.
    """
    presets = {"hacs": SolaConfig()}
    if name not in presets:
        raise SolaError(f"preset must be one of {', '.join(presets)}, got {name!r}")
    return presets[name]


def config_from_dict(values: Mapping[str, Any]) -> SolaConfig:
    """The configuration that `dataclasses.asdict` and JSON have turned into a mapping.

    Raises:
        SolaError: a name is unknown, or a value is not accepted.
    """
    known = {field.name for field in fields(SolaConfig)}
    unknown = sorted(set(values) - known)
    if unknown:
        raise SolaError(f"unknown options {', '.join(unknown)}; accepted are {', '.join(sorted(known))}")
    options: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in values.items()}
    return SolaConfig(**options)


def config_to_dict(config: SolaConfig) -> dict[str, Any]:
    """The configuration as a mapping of JSON's types."""
    return {name: list(v) if isinstance(v, tuple) else v for name, v in asdict(config).items()}


def _check_literals(config: SolaConfig) -> None:
    literals = {"precision": Precision, "device": Device, "gate": Gate, "comparison": Comparison}
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

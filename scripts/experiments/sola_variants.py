"""Variants of SoLa that did not help, and that `sola` therefore does not have; `sola_on_synthetic` measures them.

gate      the correction's weight is alpha itself (linear), or 1 with a last layer of zeros (open); not tanh(alpha)
scales    strides between compared positions that take turns, one an optimizer step
scaling   features less their mean are also divided by each channel's deviation (standardize), or decorrelated
          (whiten), before they are compared
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from sola.config import SolaConfig
from sola.fit_state import FitState, new_fit_state
from sola.fit_step import StepMeasures, train_step
from sola.module import SolaModule, bias_of
from sola.sampling import FeatureSource, draw_epoch, lengths_of, read_windows, split_into_steps, steps_in_epoch
from sola.similarity import target_tsm
from sola.sparse_forward import plan_gather
from sola.statistics import FeatureStatistics, spread_rows

# Share of the mean variance that is added to every direction, so that directions with almost none are not blown up.
SHRINKAGE = 0.01


@dataclass(frozen=True)
class Variant:
    """What differs from the product; the defaults do not."""

    gate: Literal["tanh", "linear", "open"] = "tanh"
    scales: Sequence[int] = (1,)
    scaling: Literal["none", "standardize", "whiten"] = "none"


@dataclass(frozen=True)
class ScaledStatistics(FeatureStatistics):
    """The origin [C] from which features are compared, and a matrix [C, C] for the difference."""

    scale: Tensor

    def to(self, device: torch.device, dtype: torch.dtype) -> "ScaledStatistics":
        return ScaledStatistics(self.origin.to(device, dtype), self.scale.to(device, dtype))

    def apply(self, features: Tensor) -> Tensor:
        return (features - self.origin) @ self.scale


def fit_variant(
    source: FeatureSource, config: SolaConfig, variant: Variant, *, channels: int
) -> tuple[SolaModule, list[StepMeasures]]:
    """Fit a module for `config.steps`, and return it with the measures of every step."""
    lengths = lengths_of(source)
    statistics = variant_statistics(source, lengths, variant, config)
    first = new_fit_state(channels, config, statistics=statistics)
    set_gate(first.module, variant.gate)
    states = [at_scale(first, factor) for factor in variant.scales]
    per_epoch = steps_in_epoch(len(lengths), config)
    measures = []
    for step in range(config.steps or config.epochs * per_epoch):
        state = states[step % len(states)]
        epoch, place = divmod(step, per_epoch)
        windows = split_into_steps(draw_epoch(lengths, state.config, epoch), config.batch_size)[place]
        batch = read_windows(
            source,
            windows,
            state.plan.positions[0].tolist(),
            channels=channels,
            window_snippets=state.config.window_snippets,
            padding=config.padding,
        )
        measures.append(train_step(state, batch, step=step + 1))
    return first.module.eval(), measures


def set_gate(module: SolaModule, gate: str) -> None:
    """Give a new module another gate; it stays the identity."""
    if gate == "linear":
        module.gate = lambda: module.alpha
    if gate == "open":
        module.gate = lambda: torch.ones_like(module.alpha)
        nn.init.zeros_(module.convolutions[-1].weight)
        nn.init.zeros_(bias_of(module.convolutions[-1]))


def at_scale(state: FitState, factor: int) -> FitState:
    """Return the state with `factor` times the stride, and a window that is longer by as much."""
    config = state.config
    stride = config.position_stride * factor
    window = config.window_snippets + (config.tsm_size - 1) * (stride - config.position_stride)
    # Intervals count in the unscaled stride, so that the same distance in time means the same at every scale.
    sharpness = config.target_sharpness / factor**2
    wide = replace(config, position_stride=stride, window_snippets=window, target_sharpness=sharpness)
    device = state.target.device
    return replace(
        state,
        config=wide,
        plan=plan_gather(state.module, wide.positions).to(device),
        target=target_tsm(wide.tsm_size, sharpness).to(device),
    )


def variant_statistics(
    source: FeatureSource, lengths: np.ndarray, variant: Variant, config: SolaConfig
) -> FeatureStatistics | None:
    """Return the statistics that the comparison needs, float64; None for raw features."""
    if variant.scaling == "none" and config.normalize == "none":
        return None
    rows = spread_rows(source, lengths)
    origin = rows.mean(axis=0)
    if variant.scaling == "none":
        return FeatureStatistics(torch.from_numpy(origin))
    covariance = (rows - origin).T @ (rows - origin) / len(rows)
    if variant.scaling == "standardize":
        covariance = np.diag(np.diag(covariance))
    values, vectors = np.linalg.eigh(covariance)
    values = np.maximum(values, 0)
    shrunk = values + SHRINKAGE * values.mean() + np.finfo(np.float64).tiny
    return ScaledStatistics(torch.from_numpy(origin), torch.from_numpy((vectors / np.sqrt(shrunk)) @ vectors.T))

"""The networks that are fitted, their optimiser, and one step of similarity matching."""

import math
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sola.config import SolaConfig
from sola.device import resolve_device, resolve_precision
from sola.errors import SolaError
from sola.gather import GatherPlan, gathered_forward, layer_weights, plan_gather
from sola.health import effective_rank, spread
from sola.input_target import input_aware_target
from sola.module import SolaModule, initial_networks
from sola.sampling import WindowBatch
from sola.similarity import loss_bounds, similarity_loss, target_tsm
from sola.statistics import FeatureStatistics


@dataclass(frozen=True)
class Scale:
    """The configuration of one of the scales that take turns, the plan of its positions and their target."""

    config: SolaConfig
    plan: GatherPlan
    target: Tensor


@dataclass(frozen=True)
class Learner:
    """Everything that an optimiser step changes, and what it computes with."""

    module: SolaModule
    predictor: nn.Module
    optimizer: torch.optim.Optimizer
    scales: tuple[Scale, ...]
    statistics: FeatureStatistics | None
    compute_dtype: torch.dtype


@dataclass(frozen=True)
class StepMeasures:
    """What a step showed before its update.

    `gate` is the weight of the correction; `correction_ratio` the length of the correction divided by that of the
    input, over the compared positions; `spread` the variance of the compared unit vectors, from 0 (all the same)
    to 1; `rank` the effective rank of a window's self-similarity, from 1 (all positions the same) to S. The loss is to
    be read between `constant_loss`, that of the best constant prediction, and `least_loss`, that of the target itself.
    """

    loss: float
    gate: float
    correction_ratio: float
    spread: float
    rank: float
    constant_loss: float
    least_loss: float


def new_learner(channels: int, config: SolaConfig, *, statistics: FeatureStatistics | None = None) -> Learner:
    """A learner at step 0, with the seed's initial weights, on the configured device.

    Args:
        channels: C of the features.
        config: all settings.
        statistics: of the data, as the configured comparison needs them.
    """
    device = resolve_device(config.device)
    module, predictor = initial_networks(channels, config)
    module.to(device)
    predictor.to(device)
    weights = [*module.conv_network.parameters(), *predictor.parameters()]
    gate_rate = config.learning_rate if config.gate_learning_rate is None else config.gate_learning_rate
    groups: list[dict[str, Any]] = [{"params": [module.alpha], "lr": gate_rate}, {"params": weights}]
    optimizer = torch.optim.AdamW(
        groups,
        lr=config.learning_rate,
        weight_decay=config.weight_decay,
        fused=True,
    )
    return Learner(
        module=module,
        predictor=predictor,
        optimizer=optimizer,
        scales=tuple(_scale(module, config, factor, device) for factor in config.scales),
        statistics=None if statistics is None else statistics.to(device, module.alpha.dtype),
        compute_dtype=resolve_precision(config.precision, device),
    )


def _scale(module: SolaModule, config: SolaConfig, factor: int, device: torch.device) -> Scale:
    scaled = config.at_scale(factor)
    # The interval counts in the unscaled step, so that the same time apart means the same at every scale.
    k = config.k / factor**2
    return Scale(
        config=replace(scaled, k=k),
        plan=plan_gather(module, scaled.positions).to(device),
        target=target_tsm(config.size, k).to(device),
    )


def batch_loss(learner: Learner, batch: WindowBatch, scale: Scale) -> tuple[Tensor, StepMeasures]:
    """The similarity-matching loss of a batch, a scalar, and what the batch showed.

    Args:
        learner: networks and comparison.
        batch: rows at `scale.plan.positions[0]`.
        scale: one of the learner's.
    """
    module, config = learner.module, scale.config
    device = module.alpha.device
    half = learner.compute_dtype == torch.bfloat16
    x, correction = gathered_forward(
        layer_weights(module, torch.bfloat16 if half else None),
        module.gate(),
        batch.rows.to(device),
        scale.plan,
        first=batch.first,
        end=batch.end,
    )
    compare = learner.statistics.apply if learner.statistics is not None else _as_they_are
    z = F.normalize(compare(x + correction), dim=-1)
    with torch.autocast(device.type, torch.bfloat16, enabled=half):
        p = learner.predictor(z)
    inside = batch.inside(scale.plan.positions[-1])
    valid = None if bool(inside.all()) else inside.to(device)
    target = scale.target
    if config.input_weight > 0:
        target = input_aware_target(
            compare(x), config.k, weight=config.input_weight, contrast=config.input_contrast, valid=valid
        )
    loss = similarity_loss(z, p.to(z.dtype), target, valid)
    with torch.no_grad():
        constant_loss, least_loss = loss_bounds(target, valid)
        measures = StepMeasures(
            loss=loss.item(),
            gate=module.gate().item(),
            correction_ratio=_length_ratio(correction, x, valid).item(),
            spread=spread(z, valid).item(),
            rank=effective_rank(z, valid).item(),
            constant_loss=constant_loss.item(),
            least_loss=least_loss.item(),
        )
    return loss, measures


def _as_they_are(features: Tensor) -> Tensor:
    return features


def _length_ratio(correction: Tensor, x: Tensor, valid: Tensor | None) -> Tensor:
    if valid is not None:
        correction, x = correction[valid], x[valid]
    return correction.norm() / x.norm().clamp_min(torch.finfo(x.dtype).tiny)


def train_step(learner: Learner, batch: WindowBatch, scale: Scale, *, step: int) -> StepMeasures:
    """Takes one optimiser step; what the batch showed before it.

    Raises:
        SolaError: the loss is not finite; the weights are then left as they were.
    """
    loss, measures = batch_loss(learner, batch, scale)
    if not math.isfinite(measures.loss):
        broken = int((~torch.isfinite(batch.rows).all(dim=(1, 2))).sum())
        cause = (
            f"{broken} of its {len(batch.rows)} windows hold NaN or infinite features: repair these videos"
            if broken
            else "the features are finite, so the weights have diverged: lower learning_rate"
        )
        raise SolaError(f"the loss is {measures.loss} at step {step}; {cause}")
    learner.optimizer.zero_grad(set_to_none=True)
    loss.backward()
    learner.optimizer.step()
    return measures


def learner_state(learner: Learner) -> dict[str, Any]:
    """All that its steps have changed. Nothing else is random: windows are drawn anew from the seed and the epoch."""
    return {
        "module": learner.module.state_dict(),
        "predictor": learner.predictor.state_dict(),
        "optimizer": learner.optimizer.state_dict(),
    }


def restore_learner(learner: Learner, state: dict[str, Any]) -> None:
    """Puts a saved state into a learner of the same settings."""
    learner.module.load_state_dict(state["module"])
    learner.predictor.load_state_dict(state["predictor"])
    learner.optimizer.load_state_dict(state["optimizer"])

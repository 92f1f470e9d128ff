"""The networks that are fitted, their optimiser, and one step of similarity matching."""

import math
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sola.config import SolaConfig
from sola.device import resolve_device, resolve_precision
from sola.errors import SolaError
from sola.gather import GatherPlan, gathered_forward, layer_weights, plan_gather
from sola.module import SolaModule, initial_networks
from sola.sampling import WindowBatch
from sola.similarity import similarity_loss, target_tsm


@dataclass(frozen=True)
class Learner:
    """Everything that an optimiser step changes, and what it computes with."""

    module: SolaModule
    predictor: nn.Module
    optimizer: torch.optim.Optimizer
    plan: GatherPlan
    target: Tensor
    compute_dtype: torch.dtype


def new_learner(channels: int, config: SolaConfig) -> Learner:
    """A learner at step 0, with the seed's initial weights, on the configured device."""
    device = resolve_device(config.device)
    module, predictor = initial_networks(channels, config)
    module.to(device)
    predictor.to(device)
    parameters = [*module.parameters(), *predictor.parameters()]
    optimizer = torch.optim.AdamW(
        parameters, lr=config.learning_rate, weight_decay=config.weight_decay, fused=True
    )
    return Learner(
        module=module,
        predictor=predictor,
        optimizer=optimizer,
        plan=plan_gather(module, config.positions).to(device),
        target=target_tsm(config.size, config.k).to(device),
        compute_dtype=resolve_precision(config.precision, device),
    )


def batch_loss(learner: Learner, batch: WindowBatch) -> tuple[Tensor, Tensor]:
    """The similarity-matching loss of a batch, a scalar, and |correction| / |input| over its compared positions."""
    module = learner.module
    device = module.alpha.device
    half = learner.compute_dtype == torch.bfloat16
    x, correction = gathered_forward(
        layer_weights(module, torch.bfloat16 if half else None),
        module.gate(),
        batch.rows.to(device),
        learner.plan,
        first=batch.first,
        end=batch.end,
    )
    z = F.normalize(x + correction, dim=-1)
    with torch.autocast(device.type, torch.bfloat16, enabled=half):
        p = learner.predictor(z)
    inside = batch.inside(learner.plan.positions[-1])
    valid = None if bool(inside.all()) else inside.to(device)
    loss = similarity_loss(z, p.to(z.dtype), learner.target, valid)
    return loss, _length_ratio(correction.detach(), x, valid)


def _length_ratio(correction: Tensor, x: Tensor, valid: Tensor | None) -> Tensor:
    if valid is not None:
        correction, x = correction[valid], x[valid]
    return correction.norm() / x.norm().clamp_min(torch.finfo(x.dtype).tiny)


def train_step(learner: Learner, batch: WindowBatch, *, step: int) -> tuple[float, float]:
    """Takes one optimiser step; the loss and the correction ratio before it.

    Raises:
        SolaError: the loss is not finite; the weights are then left as they were.
    """
    loss, ratio = batch_loss(learner, batch)
    value = loss.item()
    if not math.isfinite(value):
        broken = int((~torch.isfinite(batch.rows).all(dim=(1, 2))).sum())
        cause = (
            f"{broken} of its {len(batch.rows)} windows hold NaN or infinite features: repair these videos"
            if broken
            else "the features are finite, so the weights have diverged: lower learning_rate"
        )
        raise SolaError(f"the loss is {value} at step {step}; {cause}")
    learner.optimizer.zero_grad(set_to_none=True)
    loss.backward()
    learner.optimizer.step()
    return value, ratio.item()


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

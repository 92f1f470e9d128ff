"""The networks being fitted, their optimizer, and one step of similarity matching."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sola.config import SolaConfig
from sola.device import resolve_device, resolve_precision
from sola.diagnostics import effective_rank, spread
from sola.distributed import ALONE, Team, Total
from sola.errors import SolaError
from sola.input_target import input_aware_target
from sola.module import SolaModule, initial_networks
from sola.sampling import WindowBatch
from sola.similarity import loss_bounds, similarity_loss, target_tsm
from sola.sparse_forward import GatherPlan, gathered_forward, layer_weights, plan_gather
from sola.statistics import FeatureStatistics


@dataclass(frozen=True)
class FitState:
    """Networks and optimizer, which a step changes, and the constants that it computes with.

    `plan` is of the compared positions, `target` [S, S] what their self-similarity should be.
    """

    module: SolaModule
    predictor: nn.Module
    optimizer: torch.optim.Optimizer
    config: SolaConfig
    plan: GatherPlan
    target: Tensor
    statistics: FeatureStatistics | None
    compute_dtype: torch.dtype
    team: Team = ALONE


@dataclass(frozen=True)
class StepMeasures:
    """The measures of a step before its update.

    `gate` is the weight of the correction; `correction_ratio` the length of the correction divided by that of the
    input, over the compared positions; `spread` the variance of the compared unit vectors, from 0 (all the same)
    to 1; `rank` the effective rank of a window's self-similarity, from 1 (all positions the same) to S. Read the loss
    between `constant_loss`, that of the best constant prediction, and `least_loss`, that of the target itself.
    All are of the whole batch, over all ranks.
    """

    loss: float
    gate: float
    correction_ratio: float
    spread: float
    rank: float
    constant_loss: float
    least_loss: float


def new_fit_state(
    channels: int, config: SolaConfig, *, statistics: FeatureStatistics | None = None, team: Team = ALONE
) -> FitState:
    """Return the state at step 0, with the seed's initial weights, on the configured device.

    Args:
        channels: C of the features.
        config: all settings.
        statistics: of the data, as the configured comparison needs them.
        team: the processes that share the batches.
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
    return FitState(
        module=module,
        predictor=predictor,
        optimizer=optimizer,
        config=config,
        plan=plan_gather(module, config.positions).to(device),
        target=target_tsm(config.tsm_size, config.target_sharpness).to(device),
        statistics=None if statistics is None else statistics.to(device, module.alpha.dtype),
        compute_dtype=resolve_precision(config.precision, device),
        team=team,
    )


def batch_loss(fit_state: FitState, batch: WindowBatch) -> tuple[Tensor, StepMeasures]:
    """Return the similarity-matching loss of a batch, a scalar, and the measures of the whole batch.

    With several ranks the scalar is this rank's share of the loss, times the world size. DistributedDataParallel
    averages gradients over the ranks, so the mean of these scalars must be the loss of the whole batch.

    Args:
        fit_state: networks and statistics.
        batch: rows at `fit_state.plan.positions[0]`: this rank's shard of the windows.
    """
    module, config, team = fit_state.module, fit_state.config, fit_state.team
    device = module.alpha.device
    half = fit_state.compute_dtype == torch.bfloat16
    x, correction = gathered_forward(
        layer_weights(module, torch.bfloat16 if half else None),
        module.gate(),
        batch.rows.to(device, module.alpha.dtype, non_blocking=True),
        fit_state.plan,
        first=batch.first,
        end=batch.end,
    )
    compare = fit_state.statistics.apply if fit_state.statistics is not None else _as_they_are
    z = F.normalize(compare(x + correction), dim=-1)
    with torch.autocast(device.type, torch.bfloat16, enabled=half):
        p = fit_state.predictor(z)
    inside = batch.inside(fit_state.plan.positions[-1])
    # Other ranks may have shorter videos, so with several ranks each counts its valid positions.
    valid = None if team.size == 1 and bool(inside.all()) else inside.to(device)
    target = fit_state.target
    if config.input_weight > 0:
        target = input_aware_target(
            compare(x),
            config.target_sharpness,
            weight=config.input_weight,
            contrast=config.input_contrast,
            valid=valid,
            total=team.total,
        )
    loss = similarity_loss(z, p.to(z.dtype), target, valid)
    # The mean is over the valid pairs of positions, and their number differs by rank.
    pairs = inside.sum(dim=1).square().sum().double().to(device)
    with torch.no_grad():
        whole_loss, whole_pairs = team.total(torch.stack([loss.double() * pairs, pairs]))
        constant_loss, least_loss = loss_bounds(target, valid, total=team.total)
        measured = (
            whole_loss / whole_pairs,
            module.gate(),
            _length_ratio(correction, x, valid, total=team.total),
            spread(z, valid, total=team.total),
            effective_rank(z, valid, total=team.total),
            constant_loss,
            least_loss,
        )
        # In the order of the fields; copied together, since each copy waits for the GPU.
        measures = StepMeasures(*torch.stack([value.double() for value in measured]).tolist())
    return loss * (team.size * pairs / whole_pairs).to(loss.dtype), measures


class BatchLoss(nn.Module):
    """`batch_loss` as a module that holds the weights, which DistributedDataParallel needs."""

    def __init__(self, fit_state: FitState) -> None:
        super().__init__()
        self.networks = nn.ModuleList([fit_state.module, fit_state.predictor])

    def forward(self, fit_state: FitState, batch: WindowBatch) -> tuple[Tensor, StepMeasures]:
        return batch_loss(fit_state, batch)


LossFunction = Callable[[FitState, WindowBatch], tuple[Tensor, StepMeasures]]
"""`batch_loss`, or `shared_loss(fit_state)` with several ranks."""


def shared_loss(fit_state: FitState) -> LossFunction:
    """Return `batch_loss` with gradients averaged over the ranks; call it once the weights have their values."""
    return fit_state.team.wrap_ddp(BatchLoss(fit_state))


def _as_they_are(features: Tensor) -> Tensor:
    return features


def _length_ratio(correction: Tensor, x: Tensor, valid: Tensor | None, *, total: Total) -> Tensor:
    if valid is not None:
        correction, x = correction[valid], x[valid]
    of_correction, of_x = total(torch.stack([correction.norm().square(), x.norm().square()])).sqrt()
    return of_correction / of_x.clamp_min(torch.finfo(x.dtype).tiny)


def train_step(
    fit_state: FitState, batch: WindowBatch, *, step: int, loss_of: LossFunction = batch_loss
) -> StepMeasures:
    """Take one optimizer step and return the measures from before its update.

    Args:
        fit_state: networks and optimizer, updated in place.
        batch: as for `batch_loss`.
        step: its number, for the error message.
        loss_of: `shared_loss(fit_state)` with several ranks.

    Raises:
        SolaError: the loss is not finite, or another rank has ended; the weights are then unchanged.
    """
    with fit_state.team.together():
        loss, measures = loss_of(fit_state, batch)
    if not math.isfinite(measures.loss):
        finite = torch.isfinite(batch.rows).all(dim=(1, 2))
        counts = torch.stack([(~finite).sum(), finite.new_tensor(len(finite), dtype=torch.int64)])
        broken, windows = fit_state.team.total(counts.to(fit_state.module.alpha.device)).tolist()
        cause = (
            f"{broken} of its {windows} windows hold NaN or infinite features: repair these videos"
            if broken
            else "the features are finite, so the weights have diverged: lower learning_rate"
        )
        raise SolaError(f"the loss is {measures.loss} at step {step}; {cause}")
    fit_state.optimizer.zero_grad(set_to_none=True)
    with fit_state.team.together():
        loss.backward()
    fit_state.optimizer.step()
    return measures


def fit_state_dict(fit_state: FitState) -> dict[str, Any]:
    """Return what the steps have changed. No random state is needed: windows depend on the seed and the epoch alone."""
    return {
        "module": fit_state.module.state_dict(),
        "predictor": fit_state.predictor.state_dict(),
        "optimizer": fit_state.optimizer.state_dict(),
    }


def restore_fit(fit_state: FitState, state: dict[str, Any]) -> None:
    """Load a saved state into a `FitState` of the same settings."""
    fit_state.module.load_state_dict(state["module"])
    fit_state.predictor.load_state_dict(state["predictor"])
    fit_state.optimizer.load_state_dict(state["optimizer"])

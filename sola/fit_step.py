"""One step of similarity matching: what is compared, the loss, its measures, the update."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sola.device import chosen_rows, sent
from sola.diagnostics import effective_rank, spread
from sola.distributed import Total
from sola.errors import SolaError
from sola.fit_state import FitState
from sola.input_target import input_aware_target
from sola.sampling import WindowBatch
from sola.similarity import loss_bounds, similarity_loss
from sola.sparse_forward import gathered_forward, layer_weights


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


@dataclass(frozen=True)
class Compared:
    """What the loss of a batch compares.

    `x` and `correction` [B, S, C] are input and correction at the compared positions, `z` the unit vectors of their
    sum, relative to the statistics, `p` their predictions, `target` [S, S] or [B, S, S]. `inside` [B, S] says on the
    CPU which positions lie in a video; `valid` is the same, or None if all do and no other rank shares the batch.
    """

    x: Tensor
    correction: Tensor
    z: Tensor
    p: Tensor
    target: Tensor
    inside: Tensor
    valid: Tensor | None


def compare(fit_state: FitState, batch: WindowBatch) -> Compared:
    """Return what the loss of a batch compares; the arguments are those of `batch_loss`."""
    module, config, team = fit_state.module, fit_state.config, fit_state.team
    device = module.alpha.device
    half = fit_state.compute_dtype == torch.bfloat16
    x, correction = gathered_forward(
        layer_weights(module, torch.bfloat16 if half else None),
        module.gate(),
        sent(batch.rows, device).to(module.alpha.dtype),
        fit_state.plan,
        first=batch.first,
        end=batch.end,
    )
    z = F.normalize(fit_state.relative(x + correction), dim=-1)
    with torch.autocast(device.type, torch.bfloat16, enabled=half):
        p = fit_state.predictor(z)
    inside = batch.inside(fit_state.plan.positions[-1])
    # Other ranks may have shorter videos, so with several ranks each counts its valid positions.
    valid = None if team.size == 1 and bool(inside.all()) else inside
    target = fit_state.target
    if config.input_weight > 0:
        target = input_aware_target(
            fit_state.relative(x),
            config.target_sharpness,
            weight=config.input_weight,
            contrast=config.input_contrast,
            valid=valid,
            total=team.total,
        )
    return Compared(x, correction, z, p.to(z.dtype), target, inside, valid)


def batch_loss(fit_state: FitState, batch: WindowBatch) -> tuple[Tensor, Callable[[], StepMeasures]]:
    """Return the similarity-matching loss of a batch, a scalar, and a function that fetches the batch's measures.

    Only fetching waits for a GPU. Measures are of the weights as they are now, and all ranks must fetch them or none.

    With several ranks the scalar is this rank's share of the loss, times the world size. DistributedDataParallel
    averages gradients over the ranks, so the mean of these scalars must be the loss of the whole batch.

    Args:
        fit_state: networks and statistics.
        batch: rows at `fit_state.plan.positions[0]`: this rank's shard of the windows.
    """
    team = fit_state.team
    compared = compare(fit_state, batch)
    x, correction, z, target, valid = (
        compared.x, compared.correction, compared.z, compared.target, compared.valid,
    )  # fmt: skip
    loss = similarity_loss(z, compared.p, target, valid)
    # The mean is over the valid pairs of positions, and their number differs by rank.
    pairs = sent(compared.inside.sum(dim=1).square().sum().double(), z.device)
    with torch.no_grad():
        whole_loss, whole_pairs = team.total(torch.stack([loss.double() * pairs, pairs]))
        constant_loss, least_loss = loss_bounds(target, valid, total=team.total)
        ratio = _length_ratio(correction, x, valid, total=team.total)
        measured = (whole_loss / whole_pairs, fit_state.module.gate(), ratio, spread(z, valid, total=team.total))

    def fetch() -> StepMeasures:
        with torch.no_grad():
            rank = effective_rank(z, valid, total=team.total)
        # In the order of the fields; copied together, since each copy waits for the GPU.
        values = (*measured, rank, constant_loss, least_loss)
        return StepMeasures(*torch.stack([value.double() for value in values]).tolist())

    return loss * (team.size * pairs / whole_pairs).to(loss.dtype), fetch


class BatchLoss(nn.Module):
    """`batch_loss` as a module that holds the weights, which DistributedDataParallel needs."""

    def __init__(self, fit_state: FitState) -> None:
        super().__init__()
        self.networks = nn.ModuleList([fit_state.module, fit_state.predictor])

    def forward(self, fit_state: FitState, batch: WindowBatch) -> tuple[Tensor, Callable[[], StepMeasures]]:
        return batch_loss(fit_state, batch)


LossFunction = Callable[[FitState, WindowBatch], tuple[Tensor, Callable[[], StepMeasures]]]
"""`batch_loss`, or `shared_loss(fit_state)` with several ranks."""


def shared_loss(fit_state: FitState) -> LossFunction:
    """Return `batch_loss` with gradients averaged over the ranks; call it once the weights have their values."""
    return fit_state.team.wrap_ddp(BatchLoss(fit_state))


def _length_ratio(correction: Tensor, x: Tensor, valid: Tensor | None, *, total: Total) -> Tensor:
    if valid is not None:
        correction, x = chosen_rows(correction, valid), chosen_rows(x, valid)
    of_correction, of_x = total(torch.stack([correction.norm().square(), x.norm().square()])).sqrt()
    return of_correction / of_x.clamp_min(torch.finfo(x.dtype).tiny)


def train_step(
    fit_state: FitState, batch: WindowBatch, *, step: int, loss_of: LossFunction = batch_loss
) -> StepMeasures:
    """Take one optimizer step and return the measures from before its update, which are fetched last.

    Args:
        fit_state: networks and optimizer, updated in place.
        batch: as for `batch_loss`.
        step: its number, for the error message.
        loss_of: `shared_loss(fit_state)` with several ranks.

    Raises:
        SolaError: the loss is not finite, or another rank has ended; the weights are then of no use.
    """
    with fit_state.team.together():
        loss, fetch = loss_of(fit_state, batch)
    fit_state.optimizer.zero_grad(set_to_none=True)
    with fit_state.team.together():
        loss.backward()
    fit_state.optimizer.step()
    with fit_state.team.together():
        measures = fetch()
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
    return measures

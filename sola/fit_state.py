"""The networks being fitted and their optimizer: what a step of similarity matching changes."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from sola.config import SolaConfig
from sola.device import resolve_device, resolve_precision
from sola.distributed import ALONE, Team
from sola.module import SolaModule, initial_networks
from sola.similarity import target_tsm
from sola.sparse_forward import GatherPlan, plan_gather
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

    def relative(self, features: Tensor) -> Tensor:
        """Return the features [..., C] as they are compared: relative to the statistics, if there are any."""
        return features if self.statistics is None else self.statistics.apply(features)


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

"""Measure what a fit won: by the features themselves, which stay, and by the predictor, which is dropped.

The loss of a fit goes through the predictor, and features may meet the target before any fit. So the gain of the loss
alone says little about the features that a head gets.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from sola.correction import Correction, measure_correction
from sola.distributed import ALONE
from sola.fit_state import FitState, Scale
from sola.fit_step import compare
from sola.sampling import FeatureSource, Windows, draw_epoch, read_windows
from sola.similarity import loss_bounds, similarity_loss

WINDOWS = 256  # at each scale
_EPOCH = 2**40  # no fit has so many: these windows are not those of its steps


@dataclass(frozen=True, kw_only=True)
class Losses:
    """Losses on the same windows, means over the scales.

    `constant` is that of the best constant prediction, `least` that of the target itself; `before` that of the plain
    features and `features` that of the enhanced ones, both compared with each other; `predictor` that of the enhanced
    ones through the predictor, which is what the fit minimizes.
    """

    constant: float
    least: float
    before: float
    features: float
    predictor: float

    def gain(self, loss: float) -> float | None:
        """Return how far a loss is from `constant` (0) to `least` (1); None if no two positions are compared."""
        room = self.constant - self.least
        return None if room < 1e-6 else (self.constant - loss) / room


@dataclass(frozen=True, kw_only=True)
class Gauge:
    """The losses after a fit, and measures of the correction (None if no video is as long as its receptive field)."""

    losses: Losses
    correction: Correction | None

    def as_json(self) -> dict[str, Any]:
        """Return all measures and gains by name, rounded to six digits."""
        losses, c = self.losses, self.correction
        values = {
            "gain_before": losses.gain(losses.before),
            "gain_features": losses.gain(losses.features),
            "gain_predictor": losses.gain(losses.predictor),
            "loss_before": losses.before,
            "loss_features": losses.features,
            "loss_predictor": losses.predictor,
            "loss_constant": losses.constant,
            "loss_least": losses.least,
            "correction_ratio": c and c.ratio,
            "constant_share": c and c.constant_share,
            "linear_r2": c and c.linear_r2,
            "rank_before": c and c.rank_before,
            "rank_after": c and c.rank_after,
        }
        return {name: None if value is None else round(value, 6) for name, value in values.items()}


def measure_losses(source: FeatureSource, lengths: np.ndarray, fit_state: FitState) -> Losses:
    """Return the losses of the features as they are now, on windows that depend on seed and lengths alone."""
    with torch.no_grad():
        of_scales = [_losses(source, lengths, fit_state, scale) for scale in fit_state.scales]
    mean = torch.stack(of_scales).mean(dim=0).tolist()
    return Losses(constant=mean[0], least=mean[1], before=mean[2], features=mean[3], predictor=mean[4])


def measure(source: FeatureSource, lengths: np.ndarray, fit_state: FitState) -> Gauge:
    """Return the gauge of a fit in its present state: seconds, on a sample that depends on seed and lengths alone."""
    seed = fit_state.scales[0].config.seed
    correction = measure_correction(source, lengths, fit_state.module, seed=seed)
    return Gauge(losses=measure_losses(source, lengths, fit_state), correction=correction)


def _losses(source: FeatureSource, lengths: np.ndarray, fit_state: FitState, scale: Scale) -> torch.Tensor:
    """Return the five losses at a scale, in the order of the fields."""
    config = replace(scale.config, windows_per_video=-(-WINDOWS // len(lengths)))
    drawn = draw_epoch(lengths, config, _EPOCH)
    batch = read_windows(
        source,
        Windows(drawn.videos[:WINDOWS], drawn.firsts[:WINDOWS]),
        scale.plan.positions[0].tolist(),
        channels=fit_state.module.channels,
        window_snippets=config.window_snippets,
        padding=config.padding,
    )
    # In full precision and of this process alone, whatever the fit has.
    alone = replace(fit_state, team=ALONE, compute_dtype=torch.float32)
    found = compare(alone, batch, scale)
    x = F.normalize(alone.relative(found.x), dim=-1)
    pairs = ((x, x), (found.z, found.z), (found.z, found.p))
    losses = [similarity_loss(z, p, found.target, found.valid) for z, p in pairs]
    return torch.stack([*loss_bounds(found.target, found.valid), *losses]).double().cpu()

"""Measure what a fit won: by the features themselves, which stay, and by the predictor, which is dropped.

The loss of a fit goes through the predictor, and features may meet the target before any fit. So the gain of the loss
alone says little about the features that a head gets.
"""

from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from sola.correction import Correction, measure_correction
from sola.distributed import ALONE
from sola.fit_state import FitState
from sola.fit_step import compare
from sola.sampling import FeatureSource, Windows, draw_epoch, read_windows
from sola.similarity import loss_bounds, similarity_loss

WINDOWS = 256
_EPOCH = 2**40  # no fit has so many: these windows are not those of its steps


@dataclass(frozen=True, kw_only=True)
class Losses:
    """Losses on the same windows.

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
        losses = self.losses
        names = [field.name for field in fields(Correction)]
        of_correction = dict.fromkeys(names) if self.correction is None else asdict(self.correction)
        values: dict[str, float | None] = {
            "gain_before": losses.gain(losses.before),
            "gain_features": losses.gain(losses.features),
            "gain_predictor": losses.gain(losses.predictor),
            "loss_before": losses.before,
            "loss_features": losses.features,
            "loss_predictor": losses.predictor,
            "loss_constant": losses.constant,
            "loss_least": losses.least,
            **of_correction,
        }
        return {name: None if value is None else round(value, 6) for name, value in values.items()}


def measure_losses(source: FeatureSource, lengths: np.ndarray, fit_state: FitState) -> Losses:
    """Return the losses of the features as they are now, on windows that depend on seed and lengths alone."""
    config = replace(fit_state.config, windows_per_video=-(-WINDOWS // len(lengths)))
    drawn = draw_epoch(lengths, config, _EPOCH)
    batch = read_windows(
        source,
        Windows(drawn.videos[:WINDOWS], drawn.firsts[:WINDOWS]),
        fit_state.plan.positions[0].tolist(),
        channels=fit_state.module.channels,
        window_snippets=config.window_snippets,
        padding=config.padding,
    )
    # In full precision and of this process alone, whatever the fit has.
    alone = replace(fit_state, team=ALONE, compute_dtype=fit_state.module.alpha.dtype)
    with torch.no_grad():
        found = compare(alone, batch)
        x = F.normalize(alone.relative(found.x), dim=-1)
        constant, least = loss_bounds(found.target, found.valid)
        before, features, predictor = (
            similarity_loss(z, p, found.target, found.valid).item()
            for z, p in ((x, x), (found.z, found.z), (found.z, found.p))
        )
    return Losses(constant=constant.item(), least=least.item(), before=before, features=features, predictor=predictor)


def measure(source: FeatureSource, lengths: np.ndarray, fit_state: FitState) -> Gauge:
    """Return the gauge of a fit in its present state: seconds, on a sample that depends on seed and lengths alone."""
    correction = measure_correction(source, lengths, fit_state.module, seed=fit_state.config.seed)
    return Gauge(losses=measure_losses(source, lengths, fit_state), correction=correction)

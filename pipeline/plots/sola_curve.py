"""The training curve of SoLa as a picture."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pipeline.plots.figures import new_figure
from sola.gauge_text import verdict

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def draw_curve(history: Sequence[dict[str, Any]], *, gauge: Mapping[str, Any] | None = None) -> Figure:
    """Return a figure of the loss, of the gate, and of the length of the correction relative to the input, by step.

    The dashed line is the loss of the best constant prediction for every interval; only a lower loss shows learning.

    Args:
        history: records with step, loss, constant_loss, gate and correction_ratio, as in `sola_history.json`.
        gauge: what the fit won (`sola.gauge.Gauge.as_json`); its losses are points beside the curve, its verdict is the
            title.
    """
    figure = new_figure(6.0, 6.5)
    panels = {"loss": "loss", "gate": "gate tanh(alpha)", "correction_ratio": "correction / input"}
    steps = [record["step"] for record in history]
    marker = "." if len(steps) < 30 else ""
    all_axes = figure.subplots(len(panels), 1, sharex=True)
    for axes, (name, label) in zip(all_axes, panels.items(), strict=True):
        axes.plot(steps, [record[name] for record in history], marker=marker, linewidth=1.2)
        axes.set_ylabel(label)
        axes.grid(alpha=0.3)
    constant = [record["constant_loss"] for record in history]
    all_axes[0].plot(steps, constant, "--", color="0.5", linewidth=1, label="same prediction for every interval")
    if gauge is not None:
        _add_gauge(all_axes[0], gauge, steps)
        figure.suptitle(textwrap.fill(verdict(gauge), 80), fontsize="small")
    all_axes[0].legend(frameon=False, fontsize="small")
    all_axes[0].set_title("Fitting of SoLa")
    all_axes[-1].set_xlabel("optimizer step")
    return figure


def _add_gauge(axes: Axes, gauge: Mapping[str, Any], steps: Sequence[int]) -> None:
    """Draw the losses of the features without the predictor, at the first and the last step, and that of the target."""
    losses = [gauge["loss_before"], gauge["loss_features"]]
    axes.plot([steps[0], steps[-1]], losses, "o:", color="C1", markersize=4, label="features without the predictor")
    axes.axhline(gauge["loss_least"], linestyle=":", color="0.5", linewidth=1, label="the target itself")

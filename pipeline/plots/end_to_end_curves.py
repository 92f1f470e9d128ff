"""The curves of training an encoder and a head together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from pipeline.plots.figures import literal, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_PANEL_INCHES = 2.1


def draw_end_to_end(
    losses: Sequence[Mapping[str, float]],
    validations: Sequence[tuple[float, float]],
    history: Sequence[Mapping[str, float]],
) -> Figure:
    """Draw, by epoch, the head's losses, the validation mAP if there is one, and how the encoder learned.

    Args:
        losses: of each epoch.
        validations: (epoch, mAP from 0 to 1).
        history: of each epoch `gradient_share` and `change` of the encoder, shares from 0.
    """
    epochs = list(range(1, len(losses) + 1))
    mark = "." if len(epochs) > 1 else "o"
    panels = 3 if validations else 2
    figure = new_figure(5.2, panels * _PANEL_INCHES)
    axes = figure.subplots(panels, 1, sharex=True).ravel()
    for name in losses[0]:
        axes[0].plot(epochs, [epoch[name] for epoch in losses], marker=mark, label=literal(name.replace("_", " ")))
    axes[0].set(ylabel="loss", title="Training of encoder and head")
    if validations:
        at, scores = zip(*validations, strict=True)
        axes[1].plot(at, [100 * score for score in scores], marker=mark)
        axes[1].set(ylabel="validation mAP (%)", ylim=(0, None))
    for name, label in (("gradient_share", "encoder's share of the gradient"), ("change", "change of its weights")):
        axes[-1].plot(epochs, [100 * epoch[name] for epoch in history], marker=mark, label=label)
    axes[-1].set(ylabel="% of the norm", xlabel="epoch", ylim=(0, None))
    axes[-1].xaxis.get_major_locator().set_params(integer=True)
    for panel in axes:
        panel.grid(alpha=0.4)
        if panel.get_legend_handles_labels()[0]:
            panel.legend(frameon=False, fontsize="small")
    return figure

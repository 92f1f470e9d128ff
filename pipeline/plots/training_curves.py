"""The curves of training: SoLa's losses, and the heads' losses and validation scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pipeline.plots.colors import WAY_COLORS
from pipeline.plots.figures import literal, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_WIDTH_INCHES = 5.2
_LINES = ("-", "--")  # so that equal curves are both seen
_LOSS_NAMES = {
    "loss": "SoLa",
    "constant_loss": "same answer for every interval",
    "least_loss": "the best that is possible",
}


def draw_sola_losses(history: Sequence[Mapping[str, Any]]) -> Figure:
    """Draw every loss that all records have, by step.

    Args:
        history: records with `step` and any numbers whose names end in `loss`.
    """
    figure = new_figure(_WIDTH_INCHES, 3.2)
    axes = figure.subplots()
    steps = [record["step"] for record in history]
    names = [name for name in history[0] if name.endswith("loss") and all(is_number(r.get(name)) for r in history)]
    for place, name in enumerate(sorted(names, key=lambda name: name != "loss")):
        style = {"linewidth": 1.6} if name == "loss" else {"linewidth": 1.2, "linestyle": "--"}
        label = _LOSS_NAMES.get(name, name.replace("_", " "))
        line = [record[name] for record in history]
        axes.plot(steps, line, color=_color(place), label=literal(label), marker=_mark(steps), **style)
    axes.set(xlabel="optimizer step", ylabel="loss", title="SoLa's loss")
    _finish(figure, axes)
    return figure


def draw_head_curves(
    losses: Mapping[str, Sequence[float]], validations: Mapping[str, Sequence[tuple[float, float]]]
) -> Figure:
    """Draw the heads' training loss by epoch and, if any was validated, their mAP on the validation videos.

    Args:
        losses: of each way, one an epoch.
        validations: of each way, (epoch, mAP from 0 to 1).
    """
    shown = {way: pairs for way, pairs in validations.items() if pairs}
    figure = new_figure(_WIDTH_INCHES, 4.6 if shown else 3.0)
    all_axes = figure.subplots(2 if shown else 1, 1, sharex=True, squeeze=False).ravel()
    for place, (way, values) in enumerate(losses.items()):
        epochs = list(range(1, len(values) + 1))
        all_axes[0].plot(
            epochs, values, color=_color(place), label=literal(way), marker=_mark(epochs), linestyle=_LINES[place > 0]
        )
        if pairs := shown.get(way):
            at, scores = zip(*pairs, strict=True)
            all_axes[1].plot(
                at,
                [100 * score for score in scores],
                color=_color(place),
                marker=_mark(at),
                linestyle=_LINES[place > 0],
            )
    all_axes[0].set(ylabel="loss", title="Training of the head")
    if shown:
        all_axes[1].set(ylabel="validation mAP (%)", ylim=(0, None))
        all_axes[1].grid(alpha=0.4)
    all_axes[-1].set_xlabel("epoch")
    all_axes[-1].xaxis.get_major_locator().set_params(integer=True)
    _finish(figure, all_axes[0])
    return figure


def draw_pretraining(history: Sequence[Mapping[str, float]]) -> Figure:
    """Draw the losses of a pretext task by epoch and, if any, its measures on held-out data.

    Args:
        history: for each epoch the losses, whose names end in `loss`, and the measures, 0 to 1.
    """
    epochs = list(range(1, len(history) + 1))
    losses = [name for name in history[0] if name.endswith("loss")]
    measures = [name for name in history[0] if name not in losses]
    figure = new_figure(_WIDTH_INCHES, 4.8 if measures else 3.2)
    all_axes = figure.subplots(2 if measures else 1, 1, sharex=True, squeeze=False).ravel()
    for place, name in enumerate((*losses, *measures)):
        axes, scale = (all_axes[0], 1) if name in losses else (all_axes[1], 100)
        label = literal(name.replace("_", " "))
        line = [scale * record[name] for record in history]
        axes.plot(epochs, line, color=_color(place), label=label, marker=_mark(epochs))
    all_axes[0].set(ylabel="loss", title="Training of the encoder")
    if measures:
        all_axes[1].set(ylabel="held out (%)", ylim=(0, None))
    for axes in all_axes:
        axes.grid(alpha=0.4)
        axes.legend(frameon=False, fontsize="small")
    all_axes[-1].set_xlabel("epoch")
    all_axes[-1].xaxis.get_major_locator().set_params(integer=True)
    return figure


def _finish(figure: Figure, axes: Axes) -> None:
    axes.grid(alpha=0.4)
    # Below the axes, where it covers nothing.
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=2, frameon=False)


def _color(place: int) -> str:
    return WAY_COLORS[place % len(WAY_COLORS)]


def _mark(steps: Sequence[float]) -> str:
    return "o" if len(steps) == 1 else "." if len(steps) < 30 else ""


def is_number(value: Any) -> bool:
    """Return whether a value of a JSON file is a number."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)

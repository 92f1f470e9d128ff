"""Quality against cost: a point for each method, with the deviation over its seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.plots.figures import literal, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Mark:
    """A method: `cost` in operations of its training; mean and deviation of its mAP in %."""

    label: str
    cost: float
    mean: float
    deviation: float


def draw_quality_against_cost(marks: Sequence[Mark], missing: Sequence[str] = ()) -> Figure:
    """Return a figure of mAP against the operations of training, on a logarithmic axis.

    Args:
        missing: labels of methods that are still to come; they are named below the others.
    """
    figure = new_figure(9.0, 4.0 + 0.1 * (len(marks) + len(missing)))
    axes = figure.subplots()
    for place, mark in enumerate(marks):
        color, shape = f"C{place % 10}", "os^Dv"[place // 10 % 5]
        label = literal(f"{mark.label}: {mark.mean:.1f} ± {mark.deviation:.1f}")
        axes.errorbar(mark.cost, mark.mean, yerr=mark.deviation, fmt=shape, capsize=4, color=color, label=label)
    for name in missing:
        axes.plot([], [], linestyle="", label=literal(f"{name}: not yet"))
    axes.set_xscale("log")
    axes.set_xlabel("operations of training (FLOP)")
    axes.set_ylabel("mAP (%)")
    axes.grid(alpha=0.3)
    figure.legend(loc="outside right upper", fontsize="small")
    return figure

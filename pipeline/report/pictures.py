"""The pictures of a report, as SVG files beside the page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.config import TsmConfig
from pipeline.plots.errors import plot_errors
from pipeline.plots.figures import literal, new_figure, save_figure
from pipeline.plots.tsm import tsm_view
from pipeline.plots.tsm_figure import draw_tsm
from pipeline.report.facts import RunFacts

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PICTURE_FOLDER = "pictures"
_TSM_BINS = 300  # as many as a page can show


@dataclass(frozen=True)
class Picture:
    """A file beside the page, and its description in words (for readers who cannot see it)."""

    file: str
    text: str


def draw_map(facts: RunFacts, out: Path) -> Picture:
    """Draw mAP by tIoU, one line for each way."""
    figure = new_figure(6.5, 3.2)
    axes = figure.subplots()
    for way, evaluation in facts.evaluations.items():
        for name, result in evaluation.results.items():
            if name == "thumos":
                axes.plot(result.tious, 100 * result.map, marker="o", label=literal(way))
    axes.set(xlabel="tIoU", ylabel="mAP (%)", ylim=(0, 102), title="mAP by tIoU")
    axes.grid(alpha=0.3)
    axes.legend()
    return _save(figure, out, "map", "mAP by tIoU for each way; the numbers stand in the table")


def draw_errors(facts: RunFacts, out: Path) -> list[Picture]:
    """Draw the kinds of errors of each way."""
    pictures = []
    for number, (way, evaluation) in enumerate(facts.evaluations.items()):
        if evaluation.errors is not None:
            text = f"Kinds of errors {way}: by rank, what each kind costs, and missed segments by length"
            pictures.append(_save(plot_errors(evaluation.errors), out, f"errors-{number}", text))
    return pictures


def draw_tsms(facts: RunFacts, out: Path, video_ids: Sequence[str], annotations_file: Path | None) -> list[Picture]:
    """Draw the temporal self-similarity of some videos before and after SoLa."""
    stores = [facts.store] if facts.enhanced is None else [facts.store, facts.enhanced]
    pictures = []
    for number, video_id in enumerate(video_ids):
        # Centered: features after a ReLU are all positive, so without centering nearly everything looks alike.
        config = TsmConfig(max_bins=_TSM_BINS, normalize="center")
        view = tsm_view(stores, video_id, config, annotations_file=annotations_file)
        text = f"Temporal self-similarity of {video_id}, before and after SoLa, and the target"
        pictures.append(_save(draw_tsm(view), out, f"tsm-{number}", text))
    return pictures


def _save(figure: Figure, out: Path, name: str, text: str) -> Picture:
    file = f"{PICTURE_FOLDER}/{name}.svg"
    (out / PICTURE_FOLDER).mkdir(parents=True, exist_ok=True)
    save_figure(figure, [out / file])
    return Picture(file, text)

"""The pictures of a report, as SVG files beside the page; their ink follows the reader's light or dark mode."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.config import TsmConfig
from pipeline.plots.colors import class_colors
from pipeline.plots.errors import draw_cost, draw_missed, draw_ranking
from pipeline.plots.figures import new_figure
from pipeline.plots.map_curve import draw_map_curve
from pipeline.plots.page_style import page_style, save_for_page
from pipeline.plots.training_curves import draw_head_curves, draw_sola_losses
from pipeline.report.facts import ReportFacts, RunParts
from pipeline.report.verdict import Verdict

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PICTURE_FOLDER = "pictures"
_TSM_BINS = 300  # as many as a page can show


@dataclass(frozen=True)
class Picture:
    """A file beside the page, its description in words (for readers who cannot see it), and its title on the page."""

    file: str
    text: str
    title: str = ""


@dataclass(frozen=True)
class TsmPictures:
    """The self-similarity of a video: a picture for each matrix, what changed, and the colors of its actions."""

    video_id: str
    panels: list[Picture]
    words: str
    colors: Mapping[str, str]


def draw_map(verdict: Verdict, out: Path) -> Picture:
    """Draw mAP by tIoU, one line for each way."""
    with page_style():
        figure = draw_map_curve(verdict.tious, verdict.maps, verdict.deviations)
    return _save(figure, out, "map", "mAP by tIoU for each way; bands: one deviation over the videos")


def draw_errors(facts: ReportFacts, out: Path) -> dict[str, list[Picture]]:
    """Draw the kinds of errors of each way: along the ranking, by cost, and the missed segments by length."""
    pictures = {}
    for number, (way, evaluation) in enumerate(facts.evaluations.items()):
        if evaluation.errors is None:
            continue
        with page_style():
            ranking, cost, missed = (new_figure(5.2, height) for height in (3.8, 2.8, 2.8))
            draw_ranking(ranking, ranking.subplots(), evaluation.errors)
            draw_cost(cost.subplots(), evaluation.errors)
            draw_missed(missed.subplots(), evaluation.errors)
        texts = ("kinds of detections by rank", "what each kind of error costs", "missed segments by length")
        pictures[way] = [
            _save(figure, out, f"errors-{number}-{part}", f"{text}, {way}")
            for part, (figure, text) in enumerate(zip((ranking, cost, missed), texts, strict=True))
        ]
    return pictures


def draw_curves(facts: ReportFacts, out: Path) -> list[Picture]:
    """Draw the loss of SoLa's fit, and the heads' training."""
    pictures = []
    with page_style():
        if facts.run is not None and facts.run.sola is not None:
            figure = draw_sola_losses(facts.run.sola.history)
            pictures.append(_save(figure, out, "sola", "SoLa's loss by step, beside that of one same answer"))
        losses = {way: curve.losses for way, curve in facts.heads.items() if curve.losses}
        if losses:
            validations = {way: curve.validations for way, curve in facts.heads.items()}
            figure = draw_head_curves(losses, validations)
            pictures.append(_save(figure, out, "heads", "loss of the heads by epoch, and their mAP in validation"))
    return pictures


def draw_tsms(facts: ReportFacts, run: RunParts, out: Path, video_ids: Sequence[str]) -> list[TsmPictures]:
    """Draw the temporal self-similarity of some videos before and after SoLa."""
    from pipeline.plots.tsm import tsm_view  # it loads torch
    from pipeline.plots.tsm_figure import draw_panel, tsm_panels
    from pipeline.plots.tsm_words import change_in_words

    stores = [run.store] if run.enhanced is None else [run.store, run.enhanced]
    of_class = class_colors(facts.labels())
    pictures = []
    for number, video_id in enumerate(video_ids):
        # Centered: features after a ReLU are all positive, so without centering nearly everything looks alike.
        config = TsmConfig(max_bins=_TSM_BINS, normalize="center")
        view = tsm_view(stores, video_id, config, annotations_file=facts.annotations_file)
        labels = sorted({segment.label for segment in view.segments})
        colors = class_colors([*of_class, *(label for label in labels if label not in of_class)])
        panels = []
        for place, panel in enumerate(tsm_panels(view)):
            with page_style():
                figure = new_figure(4.4, 4.9, margin_inches=0.1)
                draw_panel(figure, figure.subplots(), view, panel, colors)
            text = f"Temporal self-similarity of {video_id}: {panel.title}"
            panels.append(_save(figure, out, f"tsm-{number}-{place}", text, panel.title))
        shown = {label: colors[label] for label in labels}
        pictures.append(TsmPictures(video_id, panels, change_in_words(view), shown))
    return pictures


def _save(figure: Figure, out: Path, name: str, text: str, title: str = "") -> Picture:
    file = f"{PICTURE_FOLDER}/{name}.svg"
    (out / PICTURE_FOLDER).mkdir(parents=True, exist_ok=True)
    save_for_page(figure, out / file)
    return Picture(file, text, title)

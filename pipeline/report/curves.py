"""The curves of a run's training, read tolerantly: what a file lacks is not shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from pipeline.errors import PipelineError
from pipeline.plots.training_curves import is_number
from pipeline.stages.enhance import HISTORY_FILE
from pipeline.storage.read_files import read_json
from pipeline.store.feature_store import FeatureStore
from pipeline.text.plain import counted
from sola.config import SolaConfig, config_from_dict
from sola.diagnostics import CLEAR_GAIN, data_warnings, fit_warnings, gain
from sola.errors import SolaError

_GAUGE_FILE = "sola_gauge.json"  # of newer fits: what the features themselves won


@dataclass(frozen=True)
class SolaCurve:
    """The fit of SoLa.

    Args:
        history: records of steps, with at least `step` and `loss`.
        text: how much was learned, in a sentence.
        warnings: doubts about the data and the fit.
        figures: other measures of the fit, (name, value).
    """

    history: Sequence[Mapping[str, Any]]
    text: str
    warnings: tuple[str, ...]
    figures: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class HeadCurve:
    """The training of a head.

    Args:
        losses: their sum in each epoch.
        validations: (epoch, mAP from 0 to 1).
        best_epoch: the epoch that was kept.
        training_videos, validation_videos: numbers.
        training_ids: the videos that it was trained on; empty if the model does not say.
    """

    losses: tuple[float, ...]
    validations: tuple[tuple[float, float], ...]
    best_epoch: int
    training_videos: int
    validation_videos: int
    training_ids: frozenset[str] = frozenset()


def read_sola_curve(source: FeatureStore, enhanced: FeatureStore) -> SolaCurve | None:
    """Return the fit of the module in an enhanced store; None if it was fitted elsewhere and left no history."""
    file = Path(str(enhanced.path)) / HISTORY_FILE
    if not file.is_file():
        return None
    try:
        value = read_json(file, what="history of SoLa")
    except PipelineError:
        return None
    # A newer history may be an object that holds the records among other figures.
    records = next((v for v in value.values() if isinstance(v, list)), []) if isinstance(value, dict) else value
    known = records if isinstance(records, list) else []
    history = [record for record in known if isinstance(record, dict) and {"step", "loss"} <= record.keys()]
    if not history:
        return None
    settings = (enhanced.spec.sola or {}).get("settings") or {}
    gauge = _read_object(file.with_name(_GAUGE_FILE))
    figures = tuple((name.replace("_", " "), f"{value:.4f}") for name, value in gauge.items() if is_number(value))
    return SolaCurve(history, _text(history, gauge), _warnings(source, history, settings), figures)


def _text(history: Sequence[Mapping[str, Any]], gauge: Mapping[str, Any]) -> str:
    """Return what the fit won: in the words of its gauge, or else as its loss says."""
    first, last = history[0]["loss"], history[-1]["loss"]
    text = f"The loss went from {first:.4f} to {last:.4f} in {counted(history[-1]['step'], 'step')}."
    if isinstance(gauge.get("verdict"), str):
        return f"{text} {gauge['verdict']}"
    try:
        share = gain([SimpleNamespace(**record) for record in history])
    except AttributeError:  # an old history
        return text
    if share is None:
        return f"{text} No two snippets of one video were ever compared: nothing was learned about time."
    word = "clearly more than nothing" if share >= CLEAR_GAIN else "next to nothing"
    return (
        f"{text} Of the way from one same answer for every interval to the best that is possible it came "
        f"{100 * share:.0f} %: it learned {word} about time."
    )


def _warnings(
    source: FeatureStore, history: Sequence[Mapping[str, Any]], settings: Mapping[str, Any]
) -> tuple[str, ...]:
    try:
        config: SolaConfig = config_from_dict(settings)
        lengths = np.array([source.require_sidecar(video_id)["shape"][0] for video_id in source.ids()], dtype=np.int64)
        points = [SimpleNamespace(**record) for record in history]
        return (*data_warnings(lengths, config), *fit_warnings(points, config))
    except (AttributeError, KeyError, TypeError, PipelineError, SolaError):
        return ()


def read_head_curve(model: Path) -> HeadCurve | None:
    """Return how the head in a model's folder was trained; None if there is none."""
    training = _read_object(model / "model.json").get("training")
    if not isinstance(training, dict):
        return None
    losses = [sum(epoch.values()) for epoch in training.get("losses") or () if isinstance(epoch, dict)]
    pairs = [tuple(pair) for pair in training.get("validation_maps") or () if isinstance(pair, list) and len(pair) == 2]
    if not pairs and training.get("best_validation_map") is not None:
        pairs = [(training.get("best_epoch", 0), training["best_validation_map"])]
    ids = training.get("training_ids") or ()
    return HeadCurve(
        losses=tuple(losses),
        validations=tuple((float(epoch), float(score)) for epoch, score in pairs),
        best_epoch=int(training.get("best_epoch") or 0),
        training_videos=int(training.get("training_videos") or 0),
        validation_videos=int(training.get("validation_videos") or 0),
        training_ids=frozenset(map(str, ids)),
    )


def _read_object(file: Path) -> dict[str, Any]:
    """Return the object in a JSON file; empty if there is none."""
    try:
        value = read_json(file, what="figures of training") if file.is_file() else None
    except PipelineError:
        return {}
    return value if isinstance(value, dict) else {}

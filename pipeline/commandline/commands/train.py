"""`train`: features and annotations to a model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pipeline.commandline.app import Flat, Location, app
from pipeline.commandline.option_sources import Preset
from pipeline.commandline.terminal import note, say
from pipeline.heads.config import TrainConfig
from pipeline.progress import progress


@app.command(name="train", sort_key=3)
def train(
    store: Location,
    /,
    *,
    annotations: Path,
    out: Path,
    preset: Preset | None = None,
    settings: Annotated[TrainConfig, Flat] = TrainConfig(),
) -> int:
    """Train a localization head on a store and annotations.

    Args:
        preset: Start from the published settings for this data set. Other options override it.
        store: A feature store, plain or enhanced.
        annotations: Ground truth: a file or folder with labels in any form that `annotations` reads. Uses its subsets
            training and validation; --train-subset and --validation-subset name others. Without a subset validation, a
            fifth of the training videos is taken for it.
        out: The model, a folder with all it needs to locate actions in an unseen video.
    """
    from pipeline.stages.train import train
    from pipeline.store.feature_store import FeatureStore

    with progress("train", total=1) as report:
        summary = train(FeatureStore.open(store), annotations, out, settings, report=report)
    for line in summary.notes:
        note(line)
    say(f"{out}: {summary.text()}")
    return 0

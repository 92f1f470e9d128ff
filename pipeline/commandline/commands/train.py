"""`train`: features and annotations to a model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pipeline.commandline.app import Flat, Locations, app
from pipeline.commandline.option_sources import Preset
from pipeline.commandline.terminal import note, say
from pipeline.heads.config import TrainConfig
from pipeline.progress import progress
from pipeline.training.end_to_end_config import EndToEndConfig


@app.command(name="train", sort_key=3)
def train(
    store_or_videos: Locations,
    /,
    *,
    annotations: Path,
    out: Path,
    preset: Preset | None = None,
    end_to_end: bool = False,
    frames: Path | None = None,
    settings: Annotated[TrainConfig, Flat] = TrainConfig(),
    learning: Annotated[EndToEndConfig, Flat] = EndToEndConfig(),
) -> int:
    """Train a localization head on a store and annotations; or, with --end-to-end, an encoder and a head on raw videos.

    End to end, several GPUs share the work under torchrun: torchrun --no-python --nproc-per-node 4 sola-pipeline train
    VIDEOS --end-to-end --annotations FILE --out MODEL. The gradient is the same as with one process.

    Args:
        store_or_videos: A feature store, plain or enhanced. With --end-to-end: videos, as for `extract`.
        preset: Start from the published settings for this data set. Other options override it.
        end_to_end: Train the encoder as well, by the head's loss. The model then has its own encoder.safetensors, which
            `localize` uses, and `extract --weights` takes.
        frames: With --end-to-end: a folder for small frames of the videos, so that each is decoded once. Several
            trainings may share it. Default: OUT.frames, removed in the end.
        annotations: Ground truth: a file or folder with labels in any form that `annotations` reads. Uses its subsets
            training and validation; --train-subset and --validation-subset name others. Without a subset validation, a
            fifth of the training videos is taken for it.
        out: The model, a folder with all it needs to locate actions in an unseen video.
    """
    from pipeline.commandline.end_to_end import only_store, run_end_to_end

    if end_to_end:
        return run_end_to_end(store_or_videos, annotations, out, settings, learning, frames)
    store = only_store(store_or_videos)
    from pipeline.stages.train import train
    from pipeline.store.feature_store import FeatureStore

    with progress("train", total=1) as report:
        summary = train(FeatureStore.open(store), annotations, out, settings, report=report)
    for line in summary.notes:
        note(line)
    say(f"{out}: {summary.text()}")
    return 0

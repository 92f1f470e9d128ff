"""The encoder of a comparison that is trained together with the head."""

from __future__ import annotations

import shutil
from dataclasses import replace
from typing import Any

from pipeline.ablation.plan import settings_from
from pipeline.annotations import sha256_of_annotations
from pipeline.comparison.costs import CountedStages
from pipeline.comparison.given import Comparison, content_of, files_in
from pipeline.comparison.plan import Plan
from pipeline.comparison.rows import END_TO_END, START
from pipeline.config import CellConfig
from pipeline.heads.config import TrainConfig
from pipeline.progress import progress
from sola.old_names import stored_settings


def make_end_to_end(given: Comparison, seed: int, stages: CountedStages) -> None:
    """Train an encoder with a head from the start weights, unless that is done.

    Raises:
        PipelineError, EncoderError: it cannot be trained.
    """
    from pipeline.stages.end_to_end_data import Request as EndToEndRequest
    from pipeline.stages.train_end_to_end import train_end_to_end
    from pipeline.training.end_to_end_config import EndToEndConfig

    plan, out = given.plan, given.folder(END_TO_END, seed) / "model"
    values = dict(plan.end_to_end)
    own = values.pop("train", {})
    weights = given.weights(START, seed)
    of_snippets = {
        name: value
        for name in ("fps", "window_frames", "stride_frames", "stride_seconds")
        if (value := getattr(plan.extract, name)) is not None
    }
    values = {**values, **of_snippets, "encoder": plan.extract.encoder, "weights": weights}
    settings = settings_from(values, EndToEndConfig, plan.file)
    config = replace(_train_config(plan, own), seed=seed)

    def work() -> str:
        with progress(f"end to end, seed {seed}", total=1) as report:
            request = EndToEndRequest([given.videos], given.annotations, out, config, settings)
            return train_end_to_end(request, report=stages.kept(report)).text()

    def clear() -> None:
        shutil.rmtree(out, ignore_errors=True)

    encoder = {**stored_settings(settings), "weights": content_of(weights)}
    facts = [encoder, stored_settings(config), files_in(given.videos), sha256_of_annotations(given.annotations)]
    stages.do("train end to end", facts, work, result=out / "model.json", clear=clear)


def _train_config(plan: Plan, own: dict[str, Any]) -> TrainConfig:
    """Return the settings of the head, with what is different when it learns with the encoder."""
    train = {**plan.cells.get("train", {}), **own}
    values = {"train": train, "videos": ["-"], "annotations": "-", "out": "-", "use_sola": False}
    return settings_from(values, CellConfig, plan.file).train

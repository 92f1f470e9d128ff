"""The encoder of a comparison that is trained together with the head."""

from __future__ import annotations

import shutil
from dataclasses import replace

from pipeline.annotations import sha256_of_annotations
from pipeline.comparison.counted_stages import CountedStages
from pipeline.comparison.given import Comparison, content_of, files_in
from pipeline.comparison.rows import END_TO_END, START
from pipeline.progress import progress
from pipeline.stages.end_to_end_data import Request
from pipeline.stages.train_end_to_end import train_end_to_end
from sola.old_names import stored_settings


def make_end_to_end(given: Comparison, seed: int, stages: CountedStages) -> None:
    """Train an encoder with a head from the start weights, unless that is done.

    Raises:
        PipelineError, EncoderError: it cannot be trained.
    """
    plan, out = given.plan, given.folder(END_TO_END, seed) / "model"
    weights = given.weights(START, seed)
    settings, config = replace(plan.end_to_end, weights=weights), replace(plan.joint_train, seed=seed)

    def work() -> str:
        with progress(f"end to end, seed {seed}", total=1) as report:
            request = Request([given.videos], given.annotations, out, config, settings)
            return train_end_to_end(request, report=stages.kept(report)).text()

    def clear() -> None:
        shutil.rmtree(out, ignore_errors=True)

    encoder = {**stored_settings(settings), "weights": content_of(weights)}
    facts = [encoder, stored_settings(config), files_in(given.videos), sha256_of_annotations(given.annotations)]
    stages.do("train end to end", facts, work, result=out / "model.json", clear=clear)

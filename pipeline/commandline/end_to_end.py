"""What `train --end-to-end` does and prints."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.commandline.terminal import note, say, say_failures
from pipeline.errors import PipelineError
from pipeline.progress import progress
from pipeline.training.end_to_end_config import EndToEndConfig

if TYPE_CHECKING:
    from pipeline.heads.config import TrainConfig
    from pipeline.storage.location import AnyPath


def refuse_without_end_to_end(inputs: list[AnyPath], learning: EndToEndConfig, frames: Path | None) -> AnyPath:
    """Return the store; refuse what only --end-to-end has.

    Raises:
        PipelineError: several inputs, or an option without effect.
    """
    default = EndToEndConfig()
    given = [
        option.name for option in fields(learning) if getattr(learning, option.name) != getattr(default, option.name)
    ]
    given += ["frames"] if frames is not None else []
    if given:
        raise PipelineError(f"{', '.join(given)} has no effect on a head alone; add --end-to-end, and give videos")
    if len(inputs) > 1:
        raise PipelineError(f"give one feature store, got {len(inputs)} inputs; videos need --end-to-end")
    return inputs[0]


def run_end_to_end(
    videos: list[AnyPath],
    annotations: Path,
    out: Path,
    settings: TrainConfig,
    learning: EndToEndConfig,
    frames: Path | None,
) -> int:
    from pipeline.stages.end_to_end_data import Request
    from pipeline.stages.train_end_to_end import EndToEndSummary, train_end_to_end
    from sola.distributed import joined_team

    request = Request(videos, annotations, out, settings, learning, frames)
    with joined_team(settings.device) as team, progress("train", total=1, shown=team.is_first) as report:
        summary = train_end_to_end(request, team=team, report=report, say=note if team.is_first else lambda line: None)
    if not team.is_first:
        return 0
    for line in summary.notes:
        note(line)
    say(f"{out}: {summary.text()}")
    return say_failures(summary.failed if isinstance(summary, EndToEndSummary) else {})

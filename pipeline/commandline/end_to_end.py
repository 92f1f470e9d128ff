"""What `train --end-to-end` does and prints."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.commandline.terminal import note, say, say_failures
from pipeline.errors import PipelineError
from pipeline.progress import progress

if TYPE_CHECKING:
    from pipeline.heads.config import TrainConfig
    from pipeline.storage.location import AnyPath
    from pipeline.training.end_to_end_config import EndToEndConfig


def only_store(inputs: list[AnyPath]) -> AnyPath:
    """Return the one store of a training without --end-to-end.

    Raises:
        PipelineError: there are several inputs, or what is given is no store.
    """
    if len(inputs) > 1:
        raise PipelineError(f"give one feature store, got {len(inputs)} inputs; videos need --end-to-end")
    if not (inputs[0] / "store.json").is_file():
        raise PipelineError(
            f"{inputs[0]} is not a feature store: make one of videos with `extract`, or train an encoder together with "
            "the head on them with --end-to-end"
        )
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

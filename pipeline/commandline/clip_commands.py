"""What the commands on trimmed clips do and print: `pretrain` and `stitch`."""

from __future__ import annotations

from pathlib import Path

from pipeline.commandline.terminal import note, say, say_failures
from pipeline.errors import PipelineError
from pipeline.pretraining.config import PretrainConfig, StitchConfig
from pipeline.progress import progress
from pipeline.text.plain import counted


def run_pretrain(
    clips: Path, out: Path, settings: PretrainConfig, *, annotations: Path | None, keep_frames: bool
) -> int:
    from pipeline.stages.pretrain import pretrain, remove_frames
    from sola.distributed import joined_team

    with joined_team(settings.device) as team, progress("pretrain", total=1, shown=team.is_first) as report:
        summary = pretrain(clips, out, settings, annotations=annotations, report=report, team=team)
    if not team.is_first:
        return 0
    if not keep_frames:
        remove_frames(out)
    say(f"{out}: {summary.text()}")
    for remark in summary.outcome.details.get("notes", ()):
        note(remark)
    return say_failures(summary.failed)


def run_stitch(clips: Path | None, out: Path, settings: StitchConfig, *, synthetic: bool) -> int:
    from pipeline.stages.stitch import stitch

    if synthetic == (clips is not None):
        raise PipelineError("give a folder of CLIPS, or --synthetic for none, and not both")
    with progress("stitch", total=1) as report:
        summary = stitch(clips, out, settings, report=report)
    say(f"{out}: {counted(summary.made, 'video')} made now; what they show: {summary.annotations}")
    return say_failures(summary.failed)

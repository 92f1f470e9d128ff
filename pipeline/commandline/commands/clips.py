"""`pretrain` and `stitch`: what is made of trimmed clips."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pipeline.commandline.app import Flat, app
from pipeline.commandline.terminal import note, say, say_failures
from pipeline.errors import PipelineError
from pipeline.pretraining.config import PretrainConfig, StitchConfig
from pipeline.pretraining.presets import PretrainPreset
from pipeline.progress import progress
from pipeline.text.plain import counted


@app.command(name="pretrain", sort_key=11)
def pretrain(
    clips: Path,
    /,
    *,
    out: Path,
    annotations: Path | None = None,
    preset: PretrainPreset | None = None,
    keep_frames: bool = True,
    settings: Annotated[PretrainConfig, Flat] = PretrainConfig(),
) -> int:
    """Train a snippet encoder on trimmed clips or annotated segments, for footage unlike that of published weights.

    The weights know their picture size and windows: use them by extract --encoder ENCODER --weights WEIGHTS. Ctrl-C
    keeps a checkpoint.

    Args:
        clips: A folder with a folder of clips for each class, or a CSV file with the columns path, label and
            (optionally) group. With --annotations: untrimmed videos, a file or a folder.
        out: The weights, a .safetensors file. A .json file beside it holds accuracy and history.
        annotations: Ground truth of the videos. Its segments are the clips: those of one subset to learn from, those of
            another to test on.
        preset: Start from the published settings of a task for a data set. Other options override it.
        keep_frames: Keep the small frames beside the weights for the next training.
    """
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


@app.command(name="stitch", sort_key=11)
def stitch(
    clips: Path | None = None,
    /,
    *,
    out: Path,
    synthetic: bool = False,
    settings: Annotated[StitchConfig, Flat] = StitchConfig(),
) -> int:
    """Make untrimmed videos of trimmed clips, with exact annotations.

    Actions lie between background. OUT gets the videos and annotations.json. Run it again to make missing videos.

    Args:
        clips: A folder with a folder of clips for each class, or a CSV file with the columns path, label and
            (optionally) group.
        out: Folder of the videos.
        synthetic: Use no clips: draw shapes that move over textures. Only the options videos, seconds, fps, height,
            width, visibility and seed have an effect then.
    """
    from pipeline.stages.stitch import stitch

    if synthetic == (clips is not None):
        raise PipelineError("give a folder of CLIPS, or --synthetic for none, and not both")
    with progress("stitch", total=1) as report:
        summary = stitch(clips, out, settings, report=report)
    say(f"{out}: {counted(summary.made, 'video')} made now; what they show: {summary.annotations}")
    return say_failures(summary.failed)

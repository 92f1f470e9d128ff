"""What `localize --live` does and prints."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.commandline.outputs import require_suffix
from pipeline.commandline.terminal import note, say
from pipeline.errors import PipelineError
from pipeline.text.plain import counted

if TYPE_CHECKING:
    from pipeline.config import LocalizeConfig


def run_live(
    source: str, model: Path | None, out: Path, settings: LocalizeConfig, *, refused: Sequence[str] = ()
) -> int:
    from pipeline.detection.model import load_model
    from pipeline.stages.localize_live import LiveLocator

    if refused:
        raise PipelineError(f"--live does not go with {', '.join(refused)}; leave it out")
    if model is None:
        raise PipelineError("--live needs --model FOLDER, a trained model")
    require_suffix(out, ".jsonl")
    live = LiveLocator(source, load_model(model), settings, note=note)
    for line in live.notes:
        note(line)
    say(f"{out}: a line for each detection, at most {live.delay_seconds:.1f} s after its middle; Ctrl-C ends")
    say(f"{out}: {counted(live.write(out), 'detection')}; the source has ended")
    return 0

"""`run`: all stages."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pipeline.commandline.app import Flat, app
from pipeline.commandline.option_sources import Preset
from pipeline.commandline.terminal import say, say_stage
from pipeline.config import RunConfig
from pipeline.errors import SOME_FAILED
from pipeline.extraction.presets import FeaturePreset
from sola.config import SolaPreset


@app.command(name="run", sort_key=6)
def run(
    config: Path | None = None,
    /,
    *,
    preset: Preset | None = None,
    extract_preset: FeaturePreset | None = None,
    sola_preset: SolaPreset | None = None,
    settings: Annotated[RunConfig, Flat],
) -> int:
    """Run all stages: extract, sola, train, localize, evaluate.

    Skips a stage if its inputs and settings have not changed. One folder holds the results.

    Args:
        config: A TOML file with videos, annotations, out, and the tables [extract], [sola], [train], [localize],
            [evaluate]. Options on the command line override it.
        preset: Train with the published settings for this data set. Other options override it.
        extract_preset: Extract with the settings of these published features. Other options override it.
        sola_preset: Fit SoLa with these published settings. Other options override it.
    """
    from pipeline.stages.run import run

    result = run(settings, say=say_stage)
    for title, file in result.evaluations.items():
        say(f"results {title}: {file}")
    return SOME_FAILED if result.failed else 0

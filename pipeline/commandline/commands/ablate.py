"""`ablate`: many settings side by side."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

from pipeline.ablation.config import AblateConfig
from pipeline.commandline.app import Flat, app
from pipeline.commandline.terminal import note, say, say_failures, say_stage, show


@app.command(name="ablate", sort_key=10)
def ablate(config: Path, /, *, out: Path, settings: Annotated[AblateConfig, Flat] = AblateConfig()) -> int:
    """Compare many settings over several seeds: linear evaluation and mAP of each, as CSV, table and plot.

    Each setting and seed is a cell with its own folder. Finished cells are not run again.

    Args:
        config: A TOML file: what varies ([grid], [[variants]]), seeds, and settings as in the file of `run`. See
            scripts/experiments/ablations for examples.
        out: Folder of results.
    """
    from pipeline.ablation.ablate import ablate
    from pipeline.ablation.results import settings_of, table_of, write_results
    from pipeline.ablation.rotation import rotation_notes
    from pipeline.commandline.old_options import tell_old_name
    from pipeline.text.table import table_text

    results = ablate(config, out, settings, say=say_stage, on_old=partial(tell_old_name, str(config)))
    notes = rotation_notes(results)
    written = write_results(results, out, notes=notes)
    for line in notes:
        note(line)
    header, rows = table_of(settings_of(results))
    show(table_text("Mean and deviation over the seeds, in %", header, rows))
    for path in written:
        say(f"written: {path}")
    return say_failures({result.cell.name: result.failure for result in results if result.failure})

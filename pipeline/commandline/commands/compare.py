"""`compare`: SoLa beside the methods that retrain the encoder."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

from pipeline.commandline.app import Flat, app
from pipeline.commandline.terminal import say, say_failures, say_stage, show
from pipeline.comparison.config import CompareConfig


@app.command(name="compare", sort_key=10)
def compare(config: Path, /, *, out: Path, settings: Annotated[CompareConfig, Flat] = CompareConfig()) -> int:
    """Compare SoLa, filters, TAC, TSP, BSP, after PAL and end-to-end training on your videos, by quality and cost.

    All rows have the same start weights, resolution, head and seeds. Each step has a folder of its own; finished steps
    are not run again, and a row that fails does not stop the others.

    Args:
        config: A TOML file: the data, seeds, rows and settings. See scripts/experiments/compare for examples.
        out: Folder of results. comparison.md is the table; `report` shows it.
    """
    from pipeline.commandline.old_options import tell_old_name
    from pipeline.comparison.compare import compare
    from pipeline.comparison.plan import read_plan
    from pipeline.comparison.table import write_comparison

    plan = read_plan(config, settings, on_old=partial(tell_old_name, str(config)))
    results = compare(plan, out, say=say_stage, on_result=write_comparison)
    failed = {f"{result.cell.label}, seed {result.cell.seed}": result.failure for result in results if result.failure}
    if len(failed) < len(results):
        show((out / "comparison.md").read_text(encoding="utf-8").rstrip())
        say(f"written: {out / 'comparison.md'}")
    return say_failures(failed)

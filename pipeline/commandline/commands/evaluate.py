"""`evaluate`: detections and annotations to mAP."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

from pipeline.commandline.app import Flat, app
from pipeline.commandline.outputs import require_suffix
from pipeline.commandline.terminal import note, say, show
from pipeline.metrics.config import EvaluateConfig


@app.command(name="evaluate", sort_key=5)
def evaluate(
    detections: Path,
    /,
    *,
    annotations: Path,
    out: Path | None = None,
    errors_plot: Path | None = None,
    settings: Annotated[EvaluateConfig, Flat] = EvaluateConfig(),
) -> int:
    """Compute mean average precision, by class and tIoU, as ActivityNet defines it or another (--protocol).

    Args:
        detections: A JSON file in ActivityNet's submission format.
        annotations: Ground truth: a file or folder with labels in any form that `annotations` reads.
        out: Also write the result here, a .json file.
        errors_plot: Also draw the kinds of errors: .png, .svg or .pdf; without a suffix, both PNG and SVG.
    """
    from pipeline.commandline.evaluation_tables import evaluation_tables
    from pipeline.plots.errors import plot_errors
    from pipeline.plots.figures import picture_files, save_figure
    from pipeline.stages.evaluate import evaluate
    from pipeline.storage.atomic_files import write_json

    if out is not None:
        require_suffix(out, ".json")
    written = picture_files(errors_plot) if errors_plot is not None else []
    result = evaluate(detections, annotations, replace(settings, diagnose=settings.diagnose or errors_plot is not None))
    if result.errors is not None and written:
        save_figure(plot_errors(result.errors), written)
    if out is not None:
        write_json(out, result.as_json())
        written.append(out)
    for line in result.notes:
        note(line)
    for table in evaluation_tables(result):
        show(table)
    for file in written:
        say(f"written: {file}")
    return 0

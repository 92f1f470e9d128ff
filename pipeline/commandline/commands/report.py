"""`report`: a run, or any detections, as a page."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pipeline.commandline.app import Flat, Locations, app
from pipeline.commandline.terminal import say
from pipeline.errors import PipelineError
from pipeline.progress import progress
from pipeline.report.config import ReportConfig

if TYPE_CHECKING:
    from pipeline.report.facts import ReportFacts


@app.command(name="report", sort_key=6)
def report(
    run_or_detections: Path,
    /,
    *,
    videos: Locations | None = None,
    annotations: Path | None = None,
    compare: list[Path] | None = None,
    out: Path | None = None,
    settings: Annotated[ReportConfig, Flat] = ReportConfig(),
) -> int:
    """Write a report as HTML, which opens from disk without a server: of a run, or of any detections.

    It plays each video from where it is, with a timeline of annotations and detections below.

    Args:
        run_or_detections: The folder of results of `run` or `compare`, or a JSON file of detections. A file of
            annotations is shown alone.
        videos: For detections: their videos, as for `extract`, or a feature store made from them.
        annotations: For detections: ground truth. With it the report says how good they are, and marks the videos of
            subset training.
        compare: For detections: other files of detections of the same videos, to show side by side.
        out: Folder of the report. Default: report/ in the folder of the run, or NAME-report/ beside the detections.
    """
    from pipeline.report.comparison_facts import COMPARISON_FILE, read_comparison
    from pipeline.report.detection_facts import given_of, read_given
    from pipeline.report.page import require_report_folder

    is_run = run_or_detections.is_dir()
    if is_run and (videos or annotations or compare):
        raise PipelineError(
            f"{run_or_detections} is a folder, that of a run, which knows its videos and annotations; --videos, "
            "--annotations and --compare are for a file of detections"
        )
    if out is None:
        stem = run_or_detections.stem
        out = run_or_detections / "report" if is_run else run_or_detections.with_name(f"{stem}-report")
    require_report_folder(out)
    if (run_or_detections / COMPARISON_FILE).is_file():
        facts = read_comparison(run_or_detections)
    elif is_run:
        from pipeline.report.run_facts import read_run  # it loads torch

        facts = read_run(run_or_detections, linear_evaluation=settings.linear_evaluation)
    else:
        given = given_of(run_or_detections, videos or (), annotations, compare or ())
        facts = read_given(replace(given, frame_rate=settings.frame_rate))
    say_report(facts, out, settings)
    return 0


def say_report(facts: ReportFacts, out: Path, settings: ReportConfig) -> None:
    from pipeline.report.page import write_report

    with progress("report", total=1) as report:
        page = write_report(facts, out, settings, report=report)
    say(f"open {page}")

"""The facts of a report, read from the folder of `compare`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from pipeline.errors import PipelineError
from pipeline.report.detection_facts import Given, read_given
from pipeline.report.facts import ComparedMethods, ReportFacts
from pipeline.storage.read_files import read_json

COMPARISON_FILE = "comparison.json"


def read_comparison(folder: Path) -> ReportFacts:
    """Read the comparison in `folder`: its table, and the detections of each row's first seed.

    Raises:
        PipelineError: the file is damaged, or the videos are no longer where they were.
    """
    file = folder / COMPARISON_FILE
    record = read_json(file, what="comparison")
    try:
        failures = [f"failed: {name}: {reason}" for name, reason in record["failures"].items()]
        compared = ComparedMethods(
            record["verdict"],
            record["header"],
            record["rows"],
            [*failures, *record["notes"]],
            _inside(folder, record["picture"]),
        )
        detections = {title: _inside(folder, name) for title, name in record["detections"].items()}
        videos, annotations = Path(record["videos"]), Path(record["annotations"])
    except (KeyError, TypeError, AttributeError):
        raise PipelineError(f"{file} is not what `compare` writes; run `compare` again") from None
    facts = read_given(Given(list(detections.values()), [videos], annotations, names=list(detections)))
    return replace(facts, title=folder.resolve().name, compared=compared)


def _inside(folder: Path, name: str) -> Path:
    """Return a file of the folder; a record of another make must not lead out of it."""
    path = folder / name
    if not path.resolve().is_relative_to(folder.resolve()):
        raise PipelineError(f"{folder / COMPARISON_FILE} names {name!r:.80}, which is not in its folder")
    return path

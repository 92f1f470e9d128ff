"""Stage: feature store + annotations → files for another toolkit, checked before they appear."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from pipeline.annotations import Annotations
from pipeline.errors import PipelineError
from pipeline.exports import actionformer, fiftyone, gtad, gtad_activitynet, opentad
from pipeline.exports.config import ExportConfig
from pipeline.exports.job import Job, prepare
from pipeline.storage.atomic_files import partial_path, write_json
from pipeline.storage.temporary_names import PARTIAL_SUFFIX, is_abandoned, this_process
from pipeline.store.feature_store import FeatureStore
from pipeline.text.plain import counted

RECORD = "export.json"


class Toolkit(Protocol):
    """A module that writes and checks the exports for one toolkit."""

    def write(self, job: Job, folder: Path) -> tuple[str, ...]:
        """Write the export to `folder`; return notes for the user."""

    def check(self, job: Job, folder: Path) -> list[str]:
        """Return the faults of the export in `folder`, read as the toolkit reads it."""


_TOOLKITS: dict[str, Toolkit] = {"opentad": opentad, "actionformer": actionformer, "gtad": gtad, "fiftyone": fiftyone}


@dataclass(frozen=True)
class ExportReport:
    """What an export wrote.

    Args:
        out: the folder.
        training, validation: number of videos of each subset.
        segments, classes: number in both subsets together.
        notes: what was left out or fixed, and what a reader must know.
    """

    out: Path
    training: int
    validation: int
    segments: int
    classes: int
    notes: tuple[str, ...]

    def lines(self) -> list[str]:
        """Return the report as lines of text."""
        return [
            f"{self.out}: {self.training} training and {counted(self.validation, 'validation video')}, "
            f"{counted(self.segments, 'segment')} of {counted(self.classes, 'class')}, checked",
            *(f"  {note}" for note in self.notes),
        ]


def export(store: FeatureStore, annotations: Annotations, out: Path, config: ExportConfig) -> ExportReport:
    """Write the features of `store` and the `annotations` to the folder `out`, in the form that `config.to` reads.

    The folder appears when it is complete and has passed its check: every video has the right number of rows, class
    indices have no gaps, and the toolkit's formula maps each time to rows and back to within half a stride.

    Raises:
        PipelineError: `out` is not empty, nothing can be exported, or the check fails.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise PipelineError(f"{out} exists and is not empty; choose another --out")
    job = prepare(store, annotations, config, home=out.resolve())
    resized_for_gtad = config.to == "gtad" and config.resize_snippets
    toolkit: Toolkit = gtad_activitynet if resized_for_gtad else _TOOLKITS[config.to]
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = partial_path(out)
    _remove_leftovers(partial)
    try:
        notes = (*job.notes, *toolkit.write(job, partial))
        if faults := toolkit.check(job, partial):
            raise PipelineError(f"the export for {config.to} fails its check, so nothing is kept: {_some(faults)}")
        write_json(partial / RECORD, _record(job))
        if out.exists():
            out.rmdir()
        partial.rename(out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return ExportReport(
        out=out,
        training=len(job.subset(training=True)),
        validation=len(job.subset(training=False)),
        segments=sum(len(video.annotations.segments) for video in job.videos),
        classes=len(job.labels),
        notes=notes,
    )


def _remove_leftovers(partial: Path) -> None:
    """Remove the leftovers of killed exports to the same folder."""
    start = partial.name.partition(this_process())[0]
    for path in partial.parent.iterdir():
        if path.name.startswith(start) and path.name.endswith(PARTIAL_SUFFIX) and is_abandoned(path):
            shutil.rmtree(path, ignore_errors=True)


def _record(job: Job) -> dict[str, Any]:
    """Return the record of the export, from which `import_export` restores the store."""
    return {
        "to": job.config.to,
        "prefix": job.config.prefix,
        "resize_snippets": job.config.resize_snippets,
        "labels": list(job.labels),
        "spec": job.store.spec.as_json(),
        "sidecars": {video.name: job.store.sidecar(video.id) for video in job.videos},
    }


def _some(faults: list[str], limit: int = 3) -> str:
    return "; ".join(faults[:limit]) + (f"; and {len(faults) - limit} more" if len(faults) > limit else "")

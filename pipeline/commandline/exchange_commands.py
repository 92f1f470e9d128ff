"""What `export` and `import` do and print."""

from __future__ import annotations

from pathlib import Path

from pipeline.annotations import read_annotations
from pipeline.commandline.terminal import note, say, say_failures
from pipeline.exports import ExportConfig, ImportConfig, export, import_export, import_features
from pipeline.storage.location import AnyPath
from pipeline.store.feature_store import FeatureStore
from pipeline.store.rates import fps_in
from pipeline.text.plain import counted


def run_export(store: AnyPath, annotations: Path, out: Path, settings: ExportConfig) -> int:
    opened = FeatureStore.open(store)
    truth = read_annotations(
        annotations,
        tolerance_seconds=settings.tolerance_seconds,
        subsets=(settings.train, settings.val),
        fps_of=fps_in(opened),
    )
    for line in export(opened, truth, out, settings).lines():
        say(line)
    return 0


def run_import(features: Path, out: Path, annotations: Path | None, settings: ImportConfig | None) -> int:
    if settings is None:
        store, report = import_export(features, out)
    else:
        truth = read_annotations(annotations, subsets=()) if annotations else None  # for the durations
        store, report = import_features(features, out, settings, annotations=truth)
        report.notes += truth.problems if truth else ()
    for line in report.notes:
        note(line)
    say(f"{store.path}: {counted(len(report.done), 'sequence')}, {len(report.failed)} failed")
    return say_failures(report.failed)

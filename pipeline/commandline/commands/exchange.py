"""`export` and `import`: other toolkits' files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pipeline.commandline.app import Flat, Location, app
from pipeline.commandline.terminal import note, say, say_failures
from pipeline.exports.config import ExportConfig, ImportConfig
from pipeline.text.plain import counted


@app.command(name="export", sort_key=13)
def export(store: Location, /, *, annotations: Path, out: Path, settings: Annotated[ExportConfig, Flat]) -> int:
    """Write a store and annotations in another toolkit's format, and check the result.

    Args:
        store: A feature store, plain or enhanced.
        annotations: Ground truth.
        out: A new folder for features, annotations, side files, and a piece of configuration with the right numbers.
    """
    from pipeline.annotations import read_annotations
    from pipeline.exports import export as export_store
    from pipeline.store.feature_store import FeatureStore
    from pipeline.store.rates import fps_in

    features = FeatureStore.open(store)
    truth = read_annotations(
        annotations,
        tolerance_seconds=settings.tolerance_seconds,
        subsets=(settings.train, settings.val),
        fps_of=fps_in(features),
    )
    for line in export_store(features, truth, out, settings).lines():
        say(line)
    return 0


@app.command(name="import", sort_key=14)
def import_features(
    features: Path,
    /,
    *,
    out: Path,
    annotations: Path | None = None,
    settings: Annotated[ImportConfig | None, Flat] = None,
) -> int:
    """Make a store from published features, for SoLa and the heads.

    Args:
        features: A folder or file of npy, npz, h5 or pkl. Or, without options, a folder that `export` wrote for
            opentad, actionformer or gtad without resizing: this restores the same store (gtad: without the videos
            that have no segments).
        out: The feature store.
        annotations: Ground truth with the videos' durations, to check the rows against.
    """
    from pipeline.annotations import read_annotations
    from pipeline.exports import import_export
    from pipeline.exports import import_features as import_published

    if settings is None:
        store, report = import_export(features, out)
    else:
        truth = read_annotations(annotations, subsets=()) if annotations else None  # for the durations
        store, report = import_published(features, out, settings, annotations=truth)
        report.notes += truth.problems if truth else ()
    for line in report.notes:
        note(line)
    say(f"{store.path}: {counted(len(report.done), 'sequence')}, {len(report.failed)} failed")
    return say_failures(report.failed)

"""`linear-probe`: what features know, measured without a head."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pipeline.commandline.app import Flat, Location, Locations, app
from pipeline.commandline.outputs import require_suffix
from pipeline.commandline.terminal import note, say, show
from pipeline.config import ProbeConfig
from pipeline.progress import progress
from pipeline.text.plain import counted


@app.command(name="linear-probe", sort_key=9)
def linear_probe(
    store: Location,
    /,
    *,
    annotations: Path,
    compare: Locations | None = None,
    out: Path | None = None,
    settings: Annotated[ProbeConfig, Flat] = ProbeConfig(),
) -> int:
    """Measure features without a head: how well a linear classifier tells foreground from background.

    Reports accuracy in all, near boundaries, and away from them: mean and deviation over several seeds.

    Args:
        store: A feature store.
        annotations: Ground truth. A snippet is foreground if its center lies in a segment.
        compare: Other stores to measure on the same videos.
        out: Also write the result here, a .json file.
    """
    from pipeline.stages.linear_probe import probe, probe_rows
    from pipeline.storage.atomic_files import write_json
    from pipeline.store.feature_store import FeatureStore
    from pipeline.text.table import table_text

    if out is not None:
        require_suffix(out, ".json")
    stores = [FeatureStore.open(path) for path in (store, *(compare or []))]
    with progress("linear-probe", total=1) as report:
        result = probe(stores, annotations, settings, report=report)
    if out is not None:
        write_json(out, result.as_json())
    for line in result.notes:
        note(line)
    learned, tested = result.videos
    title = f"Foreground against background in %, learned on {counted(learned, 'video')}, tested on {tested}"
    show(table_text(title, ["", *(one.title for one in result.stores)], probe_rows(result)))
    if out is not None:
        say(f"written: {out}")
    return 0

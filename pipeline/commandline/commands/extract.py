"""`extract`: videos to features."""

from __future__ import annotations

from typing import Annotated

from pipeline.commandline.app import Flat, Location, Locations, app
from pipeline.commandline.terminal import note, say, say_failures
from pipeline.extraction.config import ExtractConfig
from pipeline.extraction.presets import FeaturePreset
from pipeline.progress import progress

_PROBED = 32  # number of videos whose durations a dry run reads


@app.command(name="extract", sort_key=1)
def extract(
    videos: Locations,
    /,
    *,
    out: Location,
    preset: FeaturePreset | None = None,
    dry_run: bool = False,
    settings: Annotated[ExtractConfig, Flat] = ExtractConfig(),
) -> int:
    """Extract snippet features from raw videos.

    Run it again to continue an interrupted job, and to add new and changed videos. A video that fails is listed; the
    others go on.

    Args:
        videos: Video files, folders (searched below), or text files of paths; s3:// and gs:// too.
        out: The feature store, a folder. STORE/features/ID.npy is T x C for np.load; ID.json beside it says which
            seconds row i covers.
        preset: Start from the settings of published features (`encoders` lists them). Other options override it.
        dry_run: Write nothing. List what there is to do, and estimate snippets, time and storage.
    """
    from pipeline.planning.estimate import estimate
    from pipeline.stages.extract import extract

    if dry_run:
        with progress("compare", total=1) as report:
            lines = estimate(videos, out, settings, sample=_PROBED, report=report).lines()
        for line in lines:
            say(line)
        return 0
    with progress("extract", total=1) as report:
        store, summary = extract(videos, out, settings, report=report)
    for line in (*summary.notes, *summary.odd_lines()):
        note(line)
    say(f"{store.path}: {summary.text()}")
    return say_failures(summary.failed)

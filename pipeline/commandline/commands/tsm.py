"""`tsm`: a picture of a video's similarities."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pipeline.commandline.app import Flat, Location, app
from pipeline.commandline.terminal import note, say
from pipeline.config import TsmConfig


@app.command(name="tsm", sort_key=8)
def draw_tsm(
    store: Location,
    store2: Location | None = None,
    /,
    *,
    video: str,
    out: Path,
    annotations: Path | None = None,
    settings: Annotated[TsmConfig, Flat] = TsmConfig(),
) -> int:
    """Draw a video's temporal self-similarity matrix, before and after SoLa, beside SoLa's target.

    Args:
        store: A feature store.
        store2: A second store beside it, such as the same features after SoLa. Also draws what changed.
        video: The video's id.
        out: The picture: .png, .svg or .pdf; without a suffix, both PNG and SVG.
        annotations: Ground truth, to draw the video's segments along both axes.
    """
    from pipeline.plots.figures import picture_files, save_figure
    from pipeline.plots.tsm import tsm_view
    from pipeline.plots.tsm_figure import draw_tsm as figure_of
    from pipeline.store.feature_store import FeatureStore

    files = picture_files(out)
    view = tsm_view(
        [FeatureStore.open(path) for path in (store, store2) if path is not None],
        video,
        settings,
        annotations_file=annotations,
    )
    for line in view.notes:
        note(line)
    save_figure(figure_of(view), files)
    for file in files:
        say(f"written: {file}")
    return 0

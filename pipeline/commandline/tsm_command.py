"""What `tsm` does and prints."""

from __future__ import annotations

from pathlib import Path

from pipeline.commandline.terminal import note, say
from pipeline.config import TsmConfig
from pipeline.plots.figures import picture_files, save_figure
from pipeline.plots.tsm import tsm_view
from pipeline.plots.tsm_figure import draw_tsm
from pipeline.storage.location import AnyPath
from pipeline.store.feature_store import FeatureStore


def run_tsm(paths: list[AnyPath], video: str, out: Path, annotations: Path | None, settings: TsmConfig) -> int:
    files = picture_files(out)
    view = tsm_view([FeatureStore.open(path) for path in paths], video, settings, annotations_file=annotations)
    for line in view.notes:
        note(line)
    save_figure(draw_tsm(view), files)
    for file in files:
        say(f"written: {file}")
    return 0

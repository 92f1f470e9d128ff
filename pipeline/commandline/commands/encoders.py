"""`encoders`: the list."""

from __future__ import annotations

from pipeline.commandline.app import app
from pipeline.commandline.terminal import show


@app.command(name="encoders", sort_key=11)
def list_encoders() -> int:
    """List the encoders: dimensions, frames, windows, and where to put their weights."""

    from encoders.catalog import CATALOG
    from encoders.weights import cache_folder
    from pipeline.extraction.presets import FEATURE_PRESETS
    from pipeline.text.table import table_text

    folder = cache_folder()
    rows = []
    for name, entry in CATALOG.items():
        spec = entry.spec
        window = f"{spec.window_frames} at {spec.fps:g} fps = {spec.window_frames / spec.fps:.3f} s"
        frames = f"{spec.num_frames} x {spec.stack}" if spec.stack > 1 else str(spec.num_frames)
        columns = (name, str(spec.feature_dim), frames, window, f"{spec.crop_size} px {spec.modality}")
        for number, (weights, published) in enumerate(entry.published.items()):
            there = "yes" if (folder / published.file_name).is_file() else "no"
            rows.append([*(columns if number == 0 else ("",) * len(columns)), weights, published.file_name, there])
    header = ["encoder", "C", "frames", "window", "input", "weights", "file", "there"]
    show(table_text(f"Encoders; published weights are looked for in {folder}", header, rows, figures=False))
    presets = []
    for name, settings in FEATURE_PRESETS.items():
        options = " ".join(f"--{key.replace('_', '-')} {value}" for key, value in settings.options.items())
        presets.append([name, options])
    show(
        table_text(
            "Settings of published features: extract --preset NAME", ["preset", "options"], presets, figures=False
        )
    )
    for name, settings in FEATURE_PRESETS.items():
        show(f"{name}: {settings.source}")
    return 0

"""The commands beside the steps: look at stores, measure, make data, exchange files with other toolkits."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pipeline.annotations.config import ConvertConfig
from pipeline.commandline.app import Flat, Local, Locals, Location, Locations, app
from pipeline.config import AblateConfig, CompareConfig, ProbeConfig, TsmConfig
from pipeline.exports.config import ExportConfig, ImportConfig
from pipeline.pretraining.config import PretrainConfig, StitchConfig
from pipeline.pretraining.presets import PretrainPreset


@app.command(name="verify", sort_key=7)
def verify(
    store: Location,
    /,
    *,
    deep: bool = False,
    videos: Locations | None = None,
    annotations: Path | None = None,
    repair: bool = False,
) -> int:
    """Check a feature store: sizes, shapes, specs. The exit code is 1 if there are problems.

    Args:
        store: The feature store.
        deep: Also read every array: check hashes, finite values, and the number of rows against the duration.
        videos: Also compare with these videos: list missing, failed and surplus ones.
        annotations: Also compare with these annotations.
        repair: Remove bad files, so that the stage makes them again.
    """
    from pipeline.commandline.store_commands import run_verify

    return run_verify(store, deep=deep, videos=videos, annotations=annotations, repair=repair)


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
    from pipeline.commandline.tsm_command import run_tsm

    return run_tsm([store] if store2 is None else [store, store2], video, out, annotations, settings)


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
    from pipeline.commandline.commands import run_linear_probe

    return run_linear_probe([store, *(compare or [])], annotations, out, settings)


@app.command(name="ablate", sort_key=10)
def ablate(config: Path, /, *, out: Path, settings: Annotated[AblateConfig, Flat] = AblateConfig()) -> int:
    """Compare many settings over several seeds: linear evaluation and mAP of each, as CSV, table and plot.

    Each setting and seed is a cell with its own folder. Finished cells are not run again.

    Args:
        config: A TOML file: what varies ([grid], [[variants]]), seeds, and settings as in the file of `run`. See
            scripts/experiments/ablations for examples.
        out: Folder of results.
    """
    from pipeline.commandline.commands import run_ablate

    return run_ablate(config, out, settings)


@app.command(name="compare", sort_key=10)
def compare(config: Path, /, *, out: Path, settings: Annotated[CompareConfig, Flat] = CompareConfig()) -> int:
    """Compare SoLa, filters, TAC, TSP, BSP, after PAL and end-to-end training on your videos, by quality and cost.

    All rows have the same start weights, resolution, head and seeds. Each step has a folder of its own; finished steps
    are not run again, and a row that fails does not stop the others.

    Args:
        config: A TOML file: the data, seeds, rows and settings. See scripts/experiments/compare for examples.
        out: Folder of results. comparison.md is the table; `report` shows it.
    """
    from pipeline.commandline.commands import run_compare

    return run_compare(config, out, settings)


@app.command(name="pretrain", sort_key=11)
def pretrain(
    clips: Path,
    /,
    *,
    out: Path,
    annotations: Path | None = None,
    preset: PretrainPreset | None = None,
    keep_frames: bool = True,
    settings: Annotated[PretrainConfig, Flat] = PretrainConfig(),
) -> int:
    """Train a snippet encoder on trimmed clips or annotated segments, for footage unlike that of published weights.

    The weights know their picture size and windows: use them by extract --encoder NETWORK --weights WEIGHTS. Ctrl-C
    keeps a checkpoint.

    Args:
        clips: A folder with a folder of clips for each class, or a CSV file with the columns path, label and
            (optionally) group. With --annotations: untrimmed videos, a file or a folder.
        out: The weights, a .safetensors file. A .json file beside it holds accuracy and history.
        annotations: Ground truth of the videos. Its segments are the clips: those of one subset to learn from, those of
            another to test on.
        preset: Start from the published settings of a task for a data set. Other options override it.
        keep_frames: Keep the small frames beside the weights for the next training.
    """
    from pipeline.commandline.clip_commands import run_pretrain

    return run_pretrain(clips, out, settings, annotations=annotations, keep_frames=keep_frames)


@app.command(name="stitch", sort_key=11)
def stitch(
    clips: Path | None = None,
    /,
    *,
    out: Path,
    synthetic: bool = False,
    settings: Annotated[StitchConfig, Flat] = StitchConfig(),
) -> int:
    """Make untrimmed videos of trimmed clips, with exact annotations.

    Actions lie between background. OUT gets the videos and annotations.json. Run it again to make missing videos.

    Args:
        clips: A folder with a folder of clips for each class, or a CSV file with the columns path, label and
            (optionally) group.
        out: Folder of the videos.
        synthetic: Use no clips: draw shapes that move over textures. Only the options videos, seconds, fps, height,
            width, visibility and seed have an effect then.
    """
    from pipeline.commandline.clip_commands import run_stitch

    return run_stitch(clips, out, settings, synthetic=synthetic)


@app.command(name="encoders", sort_key=11)
def list_encoders() -> int:
    """List the encoders: dimensions, frames, windows, and where to put their weights."""
    from pipeline.commandline.encoder_list import run_encoders

    return run_encoders()


@app.command(name="annotations", sort_key=12)
def show_annotations(
    files: Locals,
    /,
    *,
    out: Local | None = None,
    videos: Locations | None = None,
    settings: Annotated[ConvertConfig, Flat] = ConvertConfig(),
) -> int:
    """Read labels of annotation tools and data sets: summarize, check, split and convert them.

    All commands with --annotations read the same files. Forms: ActivityNet, HACS, THUMOS14, MultiTHUMOS, ActionFormer,
    BSN, EPIC-KITCHENS, Ego4D; VIA 3, CVAT, Label Studio, ELAN (needs the extra elan), BORIS, Audacity; a table with the
    columns video, start, end, label. Detections are written for the same tools, to be corrected there.

    Args:
        files: Files or folders with labels, or one file of detections.
        out: Also write the labels here, as annotations (.json) or for a tool (see --to).
        videos: The videos: compare names and durations with them, and take their frame rates.
    """
    from pipeline.commandline.commands import run_annotations

    return run_annotations(files, out, videos, settings)


@app.command(name="export", sort_key=13)
def export(store: Location, /, *, annotations: Path, out: Path, settings: Annotated[ExportConfig, Flat]) -> int:
    """Write a store and annotations in another toolkit's format, and check the result.

    Args:
        store: A feature store, plain or enhanced.
        annotations: Ground truth.
        out: A new folder for features, annotations, side files, and a piece of configuration with the right numbers.
    """
    from pipeline.commandline.exchange_commands import run_export

    return run_export(store, annotations, out, settings)


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
    from pipeline.commandline.exchange_commands import run_import

    return run_import(features, out, annotations, settings)

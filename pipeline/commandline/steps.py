"""The commands of the pipeline's steps: their options and help."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pipeline.commandline.app import Flat, Location, Locations, app
from pipeline.commandline.option_sources import Preset
from pipeline.config import EvaluateConfig, LocalizeConfig, ReportConfig, RunConfig
from pipeline.errors import PipelineError
from pipeline.extraction.config import ExtractConfig
from pipeline.extraction.presets import FeaturePreset
from pipeline.heads.config import TrainConfig
from sola.config import FilterName, SolaConfig, SolaPreset


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
    from pipeline.commandline.commands import run_extract

    return run_extract(videos, out, settings, dry_run=dry_run)


@app.command(name="sola", sort_key=2)
def fit_sola(
    store: Location,
    /,
    *,
    out: Location,
    preset: SolaPreset | None = None,
    module: Path | None = None,
    export_reference: Path | None = None,
    settings: Annotated[SolaConfig, Flat] = SolaConfig(),
) -> int:
    """Fit SoLa on a store, without labels, and write the enhanced store.

    Ctrl-C keeps a checkpoint; the same command continues from it. Several GPUs or machines share the work under
    torchrun: torchrun --no-python --nproc-per-node 4 sola-pipeline sola STORE --out OUT. The loss is the same as with
    one process.

    Args:
        store: A feature store that `extract` wrote.
        out: The enhanced store, a folder. The module is in it as sola.safetensors.
        preset: Start from published settings (hacs: the authors' for HACS, which are the defaults too but for --padding
            zeros and --no-adapt). Other options override it.
        module: Apply this module instead of fitting one: a sola.safetensors, or a checkpoint of the method's authors
            (.pt, .pth); give its dilations by --dilations.
        export_reference: Also write the module as a checkpoint for the code of the method's authors.
    """
    from pipeline.commandline.commands import run_sola

    return run_sola(store, out, settings, module, export_reference)


@app.command(name="enhance", sort_key=2)
def enhance(store: Location, /, *, filter: FilterName, out: Location) -> int:
    """Write a store after a filter over time that needs no fit: the baselines that SoLa must beat.

    Heads, `linear-probe` and `localize` take it as they take the store that `sola` writes.

    Args:
        store: A feature store that `extract` wrote.
        filter: mean3 and mean5 are means of 3 and 5 snippets. bilateral averages like snippets within 8, so that it
            smooths inside segments and not across their boundaries. linear predicts each snippet from the two before
            and the two after it, with the weights that have the least squared error on this store.
        out: The filtered store, a folder.
    """
    from pipeline.commandline.commands import run_enhance

    return run_enhance(store, out, filter)


@app.command(name="train", sort_key=3)
def train(
    store: Location,
    /,
    *,
    annotations: Path,
    out: Path,
    preset: Preset | None = None,
    settings: Annotated[TrainConfig, Flat] = TrainConfig(),
) -> int:
    """Train a localization head on a store and annotations.

    Args:
        preset: Start from the published settings for this data set. Other options override it.
        store: A feature store, plain or enhanced.
        annotations: Ground truth: a file or folder with labels in any form that `annotations` reads. Uses its subsets
            training and validation; --train-subset and --validation-subset name others. Without a subset validation, a
            fifth of the training videos is taken for it.
        out: The model, a folder with all it needs to locate actions in an unseen video.
    """
    from pipeline.commandline.commands import run_train

    return run_train(store, annotations, out, settings)


@app.command(name="localize", sort_key=4)
def localize(
    videos_or_store: Locations | None = None,
    /,
    *,
    model: Path | None = None,
    like: list[str] | None = None,
    out: Path,
    query: list[str] | None = None,
    background: str | None = None,
    live: str | None = None,
    video_scores: Path | None = None,
    report: Path | None = None,
    settings: Annotated[LocalizeConfig, Flat] = LocalizeConfig(),
) -> int:
    """Locate actions in raw videos (without writing features) or in a feature store: by a model or by example.

    Args:
        videos_or_store: Videos as for `extract`, or one feature store, plain or enhanced.
        model: The folder that `train` wrote.
        like: In place of a model: find what resembles a marked stretch, VIDEO@START-END or LABEL=VIDEO@START-END
            (run.mp4@12.5-14.0; seconds or mm:ss.s), one or more. Features of videos are kept beside OUT; for other
            settings than those here, `extract` first and give the store.
        query: Instead of a model: what to find, in words ("a person falls"), one or more. Needs --encoder hf:… of CLIP
            or SigLIP, or a store of its features. A baseline without any training.
        background: With --query: what the rest of a video shows, in words.
        live: In place of videos, a source that goes on: rtsp://…, a webcam (/dev/video0), or a file that still grows.
            Detections are appended to OUT (.jsonl) as they are found, one JSON line each, until the source ends or you
            press Ctrl-C.
        out: Detections: a .json file in ActivityNet's submission format; a table, .csv or .jsonl, with video, start,
            end (seconds), label and score; or, of the detections worth showing, subtitles (.srt, .vtt) or a file of
            ELAN (.eaf), where several videos get a folder of this name, with a file each.
        video_scores: Class scores of whole videos. Detections are then proposals for each video's two best classes, for
            heads trained with --class-agnostic. JSON {id: {label: score}}, or {"results": {id: [scores]}, "class":
            [labels]}; or NAME.npy [videos, classes] with NAME.videos.txt and NAME.labels.txt beside it, one name per
            line (UntrimmedNet's array for THUMOS14 needs neither).
        report: Also write a report into this folder: the videos with their detections, as `report` does.
    """
    from pipeline.commandline.commands import run_localize
    from pipeline.commandline.without_labels import run_like

    if live is not None:
        from pipeline.commandline.live_command import run_live

        others = {"--like": like, "--query": query, "--video-scores": video_scores, "--report": report}
        return run_live(live, model, out, settings, refused=[name for name, value in others.items() if value])
    if not videos_or_store:
        raise PipelineError("give videos or a store, or --live SOURCE")
    if like:
        return run_like(videos_or_store, like, out, settings, report_folder=report)
    return run_localize(
        videos_or_store, model, out, video_scores, settings, report_folder=report, query=query, background=background
    )


@app.command(name="evaluate", sort_key=5)
def evaluate(
    detections: Path,
    /,
    *,
    annotations: Path,
    out: Path | None = None,
    errors_plot: Path | None = None,
    settings: Annotated[EvaluateConfig, Flat] = EvaluateConfig(),
) -> int:
    """Compute mean average precision, by class and tIoU, as ActivityNet defines it or another (--protocol).

    Args:
        detections: A JSON file in ActivityNet's submission format.
        annotations: Ground truth: a file or folder with labels in any form that `annotations` reads.
        out: Also write the result here, a .json file.
        errors_plot: Also draw the kinds of errors: .png, .svg or .pdf; without a suffix, both PNG and SVG.
    """
    from pipeline.commandline.commands import run_evaluate

    return run_evaluate(detections, annotations, out, errors_plot, settings)


@app.command(name="run", sort_key=6)
def run(
    config: Path | None = None,
    /,
    *,
    preset: Preset | None = None,
    extract_preset: FeaturePreset | None = None,
    sola_preset: SolaPreset | None = None,
    settings: Annotated[RunConfig, Flat],
) -> int:
    """Run all stages: extract, sola, train, localize, evaluate.

    Skips a stage if its inputs and settings have not changed. One folder holds the results.

    Args:
        config: A TOML file with videos, annotations, out, and the tables [extract], [sola], [train], [localize],
            [evaluate]. Options on the command line override it.
        preset: Train with the published settings for this data set. Other options override it.
        extract_preset: Extract with the settings of these published features. Other options override it.
        sola_preset: Fit SoLa with these published settings. Other options override it.
    """
    from pipeline.commandline.commands import run_run

    return run_run(settings)


@app.command(name="report", sort_key=6)
def report(
    run_or_detections: Path,
    /,
    *,
    videos: Locations | None = None,
    annotations: Path | None = None,
    compare: list[Path] | None = None,
    out: Path | None = None,
    settings: Annotated[ReportConfig, Flat] = ReportConfig(),
) -> int:
    """Write a report as HTML, which opens from disk without a server: of a run, or of any detections.

    It plays each video from where it is, with a timeline of annotations and detections below.

    Args:
        run_or_detections: The folder of results of `run`, or a JSON file of detections. A file of annotations is shown
            alone.
        videos: For detections: their videos, as for `extract`, or a feature store made from them.
        annotations: For detections: ground truth. With it the report says how good they are, and marks the videos of
            subset training.
        compare: For detections: other files of detections of the same videos, to show side by side.
        out: Folder of the report. Default: report/ in the folder of the run, or NAME-report/ beside the detections.
    """
    from pipeline.commandline.commands import run_report

    return run_report(run_or_detections, out, videos, annotations, compare, settings)

"""The command line: thin commands over the stages. Nothing heavy is imported before a command runs."""

from __future__ import annotations

import errno
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, NoReturn

from cyclopts import App, CycloptsError, Parameter

from encoders.errors import EncoderError
from pipeline.clip_config import PretrainConfig, StitchConfig
from pipeline.config import (
    AblateConfig,
    EvaluateConfig,
    ExtractConfig,
    LocalizeConfig,
    ProbeConfig,
    ReportConfig,
    RunConfig,
    TsmConfig,
)
from pipeline.errors import BAD_INPUT, INTERRUPTED, PipelineError
from pipeline.exports.config import ExportConfig, ImportConfig
from pipeline.feature_presets import FeaturePreset
from pipeline.localization.config import TrainConfig
from pipeline.option_sources import Preset, option_sources
from sola.config import SolaConfig, SolaPreset
from sola.errors import SolaError

_FULL = (errno.ENOSPC, errno.EDQUOT)

HELP = """Raw, untrimmed videos in; located actions out.

The steps: extract (videos to features), sola (features to enhanced features), train (a head on them),
localize (videos or features to detections), evaluate (mAP). `run` does them all.

Every command takes --config FILE.toml: its table [command] holds the options, with underscores for dashes.
Exit codes: 0 all done, 1 some videos failed or something does not check, 2 bad input, 130 interrupted.
"""

# A list option takes all the words that follow it: --tious 0.3 0.4 0.5.
LISTS = Parameter(consume_multiple=True, negative_iterable=())
app = App(
    name="python -m pipeline",
    help=HELP,
    version_flags=["--version"],
    default_parameter=LISTS,
    suppress_keyboard_interrupt=False,
)
Flat = Parameter(name="*")


@app.command(name="extract", sort_key=1)
def extract(
    videos: list[Path],
    /,
    *,
    out: Path,
    preset: FeaturePreset | None = None,
    dry_run: bool = False,
    settings: Annotated[ExtractConfig, Flat] = ExtractConfig(),
) -> int:
    """Raw videos to snippet features.

    Running it again goes on where it was and takes up new and changed videos. A video that fails is listed and
    costs only itself.

    Args:
        videos: Video files, folders (searched below), or text files of paths.
        out: The feature store, a folder. STORE/features/ID.npy is T x C for np.load; ID.json beside it says what row i
            means in seconds.
        preset: Start from the settings of published features (`encoders` tells what they are); every other option wins
            over it.
        dry_run: Write nothing: list what is to do, and estimate snippets, time and storage.
    """
    from pipeline.commands import run_extract

    return run_extract(videos, out, settings, dry_run=dry_run)


@app.command(name="sola", sort_key=2)
def fit_sola(
    store: Path,
    /,
    *,
    out: Path,
    preset: SolaPreset | None = None,
    module: Path | None = None,
    settings: Annotated[SolaConfig, Flat] = SolaConfig(),
) -> int:
    """Fit SoLa on a store, without labels, and write the enhanced store.

    Ctrl-C keeps a checkpoint; the same command goes on from it.

    Args:
        store: A feature store that `extract` wrote.
        out: The enhanced store, a folder; the module is in it as sola.safetensors.
        preset: Start from published settings (hacs: the authors', for HACS; they are the defaults too); every other
            option wins over it.
        module: Apply this fitted module instead of fitting one.
    """
    from pipeline.commands import run_sola

    return run_sola(store, out, settings, module)


@app.command(name="train", sort_key=3)
def train(
    store: Path,
    /,
    *,
    annotations: Path,
    out: Path,
    preset: Preset | None = None,
    settings: Annotated[TrainConfig, Flat] = TrainConfig(),
) -> int:
    """Train a localization head on a store and annotations.

    Args:
        preset: Start from the published settings for this data set; every other option wins over it.
        store: A feature store, plain or enhanced.
        annotations: Ground truth of ActivityNet, HACS, THUMOS14, ActionFormer or BSN; of its subsets training and
            validation are used, unless --train-subset and --validation-subset name others.
        out: The model, a folder with all that is needed to locate actions in an unseen video.
    """
    from pipeline.commands import run_train

    return run_train(store, annotations, out, settings)


@app.command(name="localize", sort_key=4)
def localize(
    videos_or_store: list[Path],
    /,
    *,
    model: Path,
    out: Path,
    video_scores: Path | None = None,
    settings: Annotated[LocalizeConfig, Flat] = LocalizeConfig(),
) -> int:
    """Locate actions in raw videos (on the fly, nothing written in between) or in a feature store.

    Args:
        videos_or_store: Videos as for `extract`, or one feature store, plain or enhanced.
        model: The folder that `train` wrote.
        out: Detections, a JSON file in ActivityNet's submission form.
        video_scores: Class scores of whole videos; detections are then proposals for each video's two best classes (for
            heads trained with --class-agnostic). JSON {id: {label: score}}, or {"results": {id: [scores]}, "class":
            [labels]}; or NAME.npy [videos, classes] with NAME.videos.txt and NAME.labels.txt beside it, one name a
            line (UntrimmedNet's array for THUMOS14 needs none).
    """
    from pipeline.commands import run_localize

    return run_localize(videos_or_store, model, out, video_scores, settings)


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
    """Mean average precision, per class and per tIoU, by ActivityNet's definition or by another's (--protocol).

    Args:
        detections: A JSON file in ActivityNet's submission form.
        annotations: Ground truth of ActivityNet, HACS, THUMOS14, ActionFormer or BSN.
        out: Also write the result here, as JSON.
        errors_plot: Also draw the kinds of errors here, as PNG or SVG.
    """
    from pipeline.commands import run_evaluate

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
    """All stages in order: extract, sola, train, localize, evaluate.

    A stage is skipped when its inputs and settings have not changed. One folder holds the results.

    Args:
        config: A TOML file with videos, annotations, out, and the tables [extract], [sola], [train], [localize],
            [evaluate]. Options on the command line win over it.
        preset: Train with the published settings for this data set; every other option wins over it.
        extract_preset: Extract with the settings of these published features; every other option wins over it.
        sola_preset: Fit SoLa with these published settings; every other option wins over it.
    """
    from pipeline.commands import run_run

    return run_run(settings)


@app.command(name="report", sort_key=6)
def report(
    run: Path, /, *, out: Path | None = None, settings: Annotated[ReportConfig, Flat] = ReportConfig()
) -> int:
    """A folder of HTML that shows what a run did and found; it opens from disk, without a server.

    Videos are played from where they are: each with a timeline of what is annotated and what was found.

    Args:
        run: The folder of results of `run`.
        out: Folder of the report. Default: report/ in the folder of the run.
    """
    from pipeline.commands import run_report

    return run_report(run, out, settings)


@app.command(name="verify", sort_key=7)
def verify(
    store: Path,
    /,
    *,
    deep: bool = False,
    videos: list[Path] | None = None,
    annotations: Path | None = None,
    repair: bool = False,
) -> int:
    """Check a feature store: sizes, shapes, specs; exit code 1 if something does not check.

    Args:
        store: The feature store.
        deep: Also read every array: hashes, finite values, number of rows against the duration.
        videos: Also compare with these videos: missing, failed, superfluous.
        annotations: Also compare with these annotations.
        repair: Remove what does not check, so that the stage makes it again.
    """
    from pipeline.commands import run_verify

    return run_verify(store, deep=deep, videos=videos, annotations=annotations, repair=repair)


@app.command(name="tsm", sort_key=8)
def draw_tsm(
    store: Path,
    store2: Path | None = None,
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
        store2: Another to set beside it, such as the same features after SoLa; what changed is drawn too.
        video: The video's id.
        out: The picture: .png, .svg or .pdf; without a suffix both PNG and SVG.
        annotations: Ground truth; the video's segments are drawn along both axes.
    """
    from pipeline.commands import run_tsm

    return run_tsm([store] if store2 is None else [store, store2], video, out, annotations, settings)


@app.command(name="probe", sort_key=9)
def probe(
    store: Path,
    /,
    *,
    annotations: Path,
    compare: list[Path] | None = None,
    out: Path | None = None,
    settings: Annotated[ProbeConfig, Flat] = ProbeConfig(),
) -> int:
    """Measure features without a head: how well a linear classifier tells foreground from background.

    In all, within so many snippets of a boundary, and away from boundaries: mean and deviation over several seeds.

    Args:
        store: A feature store.
        annotations: Ground truth; a snippet is foreground when its centre lies in a segment.
        compare: Other stores, measured on the same videos and set beside the first.
        out: Also write the result here, as JSON.
    """
    from pipeline.commands import run_probe

    return run_probe([store, *(compare or [])], annotations, out, settings)


@app.command(name="ablate", sort_key=10)
def ablate(
    config: Path, /, *, out: Path, settings: Annotated[AblateConfig, Flat] = AblateConfig()
) -> int:
    """Try many settings with several seeds: linear evaluation and mAP of each, as CSV, a table and a plot.

    Each setting and seed is a cell with a folder of its own; cells that are finished are not done again.

    Args:
        config: A TOML file: what is varied ([grid], [[variants]]), seeds, and settings as in the file of `run`;
            scripts/experiments/ablations has some to start from.
        out: Folder of results.
    """
    from pipeline.commands import run_ablate

    return run_ablate(config, out, settings)


@app.command(name="pretrain", sort_key=11)
def pretrain(
    clips: Path,
    /,
    *,
    out: Path,
    keep_frames: bool = True,
    settings: Annotated[PretrainConfig, Flat] = PretrainConfig(),
) -> int:
    """Train a snippet encoder on trimmed clips, for footage that published weights do not know.

    The weights carry their size and windows: extract --encoder NETWORK --weights WEIGHTS. Ctrl-C keeps a checkpoint.

    Args:
        clips: A folder with a folder of clips for each class, or a CSV file with the columns path, label and, if
            wanted, group.
        out: The weights, a .safetensors file; .json beside it tells accuracy and history.
        keep_frames: Keep the small frames beside the weights, for the next training.
    """
    from pipeline.commands import run_pretrain

    return run_pretrain(clips, out, settings, keep_frames=keep_frames)


@app.command(name="stitch", sort_key=11)
def stitch(
    clips: Path | None = None,
    /,
    *,
    out: Path,
    synthetic: bool = False,
    settings: Annotated[StitchConfig, Flat] = StitchConfig(),
) -> int:
    """Make untrimmed videos, with actions known to the frame, of trimmed clips.

    Actions lie between background; OUT gets the videos and annotations.json. Running it again makes what is missing.

    Args:
        clips: A folder with a folder of clips for each class, or a CSV file with the columns path, label and, if
            wanted, group.
        out: Folder of the videos.
        synthetic: No clips: draw shapes that move over textures. Of the settings only videos, seconds, fps, height,
            width and seed count.
    """
    from pipeline.commands import run_stitch

    return run_stitch(clips, out, settings, synthetic=synthetic)


@app.command(name="encoders", sort_key=11)
def list_encoders() -> int:
    """List the encoders: dimensions, frames, windows, and where their weights are looked for."""
    from pipeline.commands import run_encoders

    return run_encoders()


@app.command(name="annotations", sort_key=12)
def show_annotations(file: Path, /) -> int:
    """Summarise an annotation file: videos, subsets, classes, segments, problems.

    Args:
        file: Ground truth of ActivityNet, HACS, THUMOS14 (JSON, or the folder of text files), ActionFormer or BSN.
    """
    from pipeline.commands import run_annotations

    return run_annotations(file)


@app.command(name="export", sort_key=13)
def export(store: Path, /, *, annotations: Path, out: Path, settings: Annotated[ExportConfig, Flat]) -> int:
    """Write a store and annotations as another toolkit reads them, checked before it is called done.

    Args:
        store: A feature store, plain or enhanced.
        annotations: Ground truth.
        out: A new folder: features, annotations, side files, and a piece of configuration with the right numbers.
    """
    from pipeline.commands import run_export

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
    """Make a store from published features, so that SoLa and the heads work on them.

    Args:
        features: A folder or file of npy, npz, h5 or pkl; or, without any options, a folder that `export` wrote for
            opentad, actionformer or gtad without resizing, which gives back the same store (gtad: without the videos
            that have no segments).
        out: The feature store.
        annotations: Ground truth that knows the videos' durations, to check the rows against.
    """
    from pipeline.commands import run_import

    return run_import(features, out, annotations, settings)


def main(tokens: Sequence[str] | None = None) -> NoReturn:
    """Runs one command and exits with its code; what the user can mend is one line on standard error."""
    # Decoders and encoder share the cores: threads that spin while they wait would take them from the decoders.
    # It must be said before torch is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    signal.signal(signal.SIGTERM, _interrupt)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # a job in the background may ignore it
        signal.signal(signal.SIGINT, _interrupt)
    try:
        words = take_config(list(sys.argv[1:] if tokens is None else tokens))
        sys.exit(app(words, exit_on_error=False, print_error=False))
    except CycloptsError as error:
        _fail(f"{error} (--help shows the options)", BAD_INPUT)
    except KeyboardInterrupt:
        _fail("interrupted; what is finished is kept, and the same command goes on from there", INTERRUPTED)
    except (PipelineError, EncoderError, SolaError) as error:
        _fail(str(error), BAD_INPUT)
    except OSError as error:
        remedy = "; free some space and run the same command again" if error.errno in _FULL else ""
        _fail(f"{error.strerror or error}{f': {error.filename}' if error.filename else ''}{remedy}", BAD_INPUT)


def take_config(tokens: list[str]) -> list[str]:
    """The command's words without those that name a file of settings; from now on the program takes options from it."""
    tokens, app.config = option_sources(tokens)
    return tokens


class _Interrupted(KeyboardInterrupt):
    """Ctrl-C or SIGTERM.

    Python ends itself by SIGINT, whatever exit code is asked for, once a KeyboardInterrupt proper has left code that
    it ran from a string, as libraries do while they are imported.
    """


def _interrupt(*_: object) -> None:
    raise _Interrupted


def _fail(message: str, code: int) -> NoReturn:
    print(f"error: {message}" if code != INTERRUPTED else message, file=sys.stderr)  # noqa: T201
    sys.exit(code)

"""What each command does and prints: results on standard output, progress and warnings on standard error."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.table import Table

from encoders.catalog import CATALOG
from encoders.weights import cache_folder
from pipeline.ablation.ablate import ablate
from pipeline.ablation.results import settings_of, table_of, write_results
from pipeline.annotations import read_annotations
from pipeline.annotations import summary as annotation_summary
from pipeline.clips.config import PretrainConfig, StitchConfig
from pipeline.clips.pretrain import pretrain, remove_frames
from pipeline.clips.stitch import stitch
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
from pipeline.enhance import enhance_store
from pipeline.errors import SOME_FAILED, PipelineError
from pipeline.evaluate import evaluate
from pipeline.exports import ExportConfig, ImportConfig, export, import_export, import_features
from pipeline.extract import extract
from pipeline.feature_presets import FEATURE_PRESETS
from pipeline.files import write_json
from pipeline.localization.config import TrainConfig
from pipeline.localization.error_plot import plot_errors
from pipeline.localization.video_scores import read_video_scores
from pipeline.localize import localize
from pipeline.localized import Localized
from pipeline.model import load_model
from pipeline.planning.estimate import estimate
from pipeline.plotting import picture_files, save_figure
from pipeline.probe import probe, probe_rows
from pipeline.progress import progress
from pipeline.report.page import write_report
from pipeline.run import run
from pipeline.storage.location import AnyPath
from pipeline.store import FeatureStore
from pipeline.store_tools.verify import repair as remove_files
from pipeline.store_tools.verify import verify_against_annotations, verify_against_videos, verify_store
from pipeline.tables import print_evaluation
from pipeline.text_table import print_table
from pipeline.train import train
from pipeline.tsm import tsm_view
from pipeline.tsm_plot import draw_tsm
from sola.config import SolaConfig
from sola.team import joined_team

_PROBED = 32  # videos whose durations a dry run looks up

# Lines are not folded to the terminal: paths and reasons stay whole for whoever searches them.
_out = Console(soft_wrap=True, highlight=False)
_err = Console(stderr=True, soft_wrap=True, highlight=False)


def _say(text: str) -> None:
    _out.print(text, markup=False)


def _note(text: str) -> None:
    _err.print(f"note: {text}", markup=False)


def _say_failures(failed: dict[str, str]) -> int:
    """Lists the videos that failed; returns the exit code."""
    for video_id, reason in sorted(failed.items()):
        _err.print(f"failed: {video_id}: {reason}", markup=False)
    return SOME_FAILED if failed else 0


def run_extract(videos: list[AnyPath], out: AnyPath, settings: ExtractConfig, *, dry_run: bool) -> int:
    if dry_run:
        with progress("compare", total=1) as report:
            lines = estimate(videos, out, settings, sample=_PROBED, report=report).lines()
        for line in lines:
            _say(line)
        return 0
    with progress("extract", total=1) as report:
        store, summary = extract(videos, out, settings, report=report)
    for line in summary.notes:
        _note(line)
    _say(f"{store.path}: {summary.text()}")
    return _say_failures(summary.failed)


def run_sola(store: AnyPath, out: AnyPath, settings: SolaConfig, module: Path | None, reference: Path | None) -> int:
    from pipeline.enhance import MODULE_FILE, export_reference
    from sola.reference import check_reference

    if reference is not None and module is None:
        check_reference(settings.gate, settings.kernel_sizes, settings.dilations)  # before the hours that it may spare
    with joined_team(settings.device) as team, progress("sola", total=1, shown=team.is_first) as report:
        source, note = FeatureStore.open(store), _note if team.is_first else None
        enhanced, summary = enhance_store(
            source, out, settings, module_file=module, report=report, on_note=note, team=team
        )
    if not team.is_first:
        return 0
    _say(f"{enhanced.path}: {summary.text()}")
    if summary.history:
        first, last = summary.history[0], summary.history[-1]
        _say(f"loss {first['loss']:.4f} -> {last['loss']:.4f}, gate tanh(alpha) {last['gate']:.4f}")
    if reference is not None:
        _say(f"written: {reference}; in the authors' YAML: {export_reference(out / MODULE_FILE, reference)}")
    return 0


def run_train(store: AnyPath, annotations: Path, out: Path, settings: TrainConfig) -> int:
    with progress("train", total=1) as report:
        summary = train(FeatureStore.open(store), annotations, out, settings, report=report)
    for line in summary.notes:
        _note(line)
    _say(f"{out}: {summary.text()}")
    return 0


def run_localize(
    inputs: list[AnyPath], model: Path, out: Path, video_scores: Path | None, settings: LocalizeConfig
) -> int:
    loaded = load_model(model)
    scores = read_video_scores(video_scores) if video_scores else None
    earlier = Localized(out, inputs, loaded, settings, video_scores)
    with progress("localize", total=1) as report:
        summary = localize(
            inputs, loaded, settings, video_scores=scores, known=earlier.known, keep=earlier.keep, report=report
        )
    for line in summary.notes:
        _note(line)
    before = f"; {len(earlier.known)} of them were done before" if earlier.known else ""
    if not earlier.write(summary.detections):
        before += " (remove the file to do them again)"
    count = sum(map(len, summary.detections.values()))
    _say(f"{out}: {count} detections in {len(summary.detections)} videos, {len(summary.failed)} videos failed{before}")
    return _say_failures(summary.failed)


def run_evaluate(
    detections: Path, annotations: Path, out: Path | None, errors_plot: Path | None, settings: EvaluateConfig
) -> int:
    result = evaluate(detections, annotations, replace(settings, details=settings.details or errors_plot is not None))
    print_evaluation(result, _out)
    if errors_plot is not None and result.errors is not None:
        plot_errors(result.errors).savefig(errors_plot)
        _say(f"written: {errors_plot}")
    if out is not None:
        write_json(out, result.as_json())
        _say(f"written: {out}")
    return 0


def run_run(settings: RunConfig) -> int:
    result = run(settings, say=_say)
    for title, file in result.evaluations.items():
        _say(f"results {title}: {file}")
    return SOME_FAILED if result.failed else 0


def run_verify(
    path: AnyPath, *, deep: bool, videos: list[AnyPath] | None, annotations: Path | None, repair: bool
) -> int:
    store = FeatureStore.open(path)
    with progress("verify", total=1) as report:
        problems = verify_store(store, deep=deep, report=report)
    if videos:
        problems += verify_against_videos(store, videos)
    if annotations:
        problems += verify_against_annotations(store, annotations)
    for problem in problems:
        _say(f"{problem.kind}: {problem.id}: {problem.detail}")
    how = "read and compared" if deep else "compared by size and shape"
    _say(f"{path}: {len(store.ids())} sequences {how}, {len(problems)} problems")
    if repair:
        removed = remove_files(problems)
        _say(f"{removed} files removed; run the stage again to make them anew")
    return SOME_FAILED if problems else 0


def run_tsm(paths: list[AnyPath], video: str, out: Path, annotations: Path | None, settings: TsmConfig) -> int:
    files = picture_files(out)
    view = tsm_view([FeatureStore.open(path) for path in paths], video, settings, annotations_file=annotations)
    for line in view.notes:
        _note(line)
    save_figure(draw_tsm(view), files)
    for file in files:
        _say(f"written: {file}")
    return 0


def run_probe(paths: list[AnyPath], annotations: Path, out: Path | None, settings: ProbeConfig) -> int:
    with progress("probe", total=1) as report:
        result = probe([FeatureStore.open(path) for path in paths], annotations, settings, report=report)
    for line in result.notes:
        _note(line)
    learned, tested = result.videos
    title = f"Foreground against background in %, learned on {learned} videos, tested on {tested}"
    print_table(_out, title, ["", *map(str, paths)], probe_rows(result))
    if out is not None:
        write_json(out, result.as_json())
        _say(f"written: {out}")
    return 0


def run_ablate(file: Path, out: Path, settings: AblateConfig) -> int:
    results = ablate(file, out, settings, say=_say)
    header, rows = table_of(settings_of(results))
    print_table(_out, "Mean and deviation over the seeds, in %", header, rows)
    for path in write_results(results, out):
        _say(f"written: {path}")
    return _say_failures({result.cell.name: result.failure for result in results if result.failure})


def run_pretrain(
    clips: Path, out: Path, settings: PretrainConfig, *, annotations: Path | None, keep_frames: bool
) -> int:
    with progress("pretrain", total=1) as report:
        summary = pretrain(clips, out, settings, annotations=annotations, report=report)
    if not keep_frames:
        remove_frames(out)
    _say(f"{out}: {summary.text()}")
    return _say_failures(summary.failed)


def run_stitch(clips: Path | None, out: Path, settings: StitchConfig, *, synthetic: bool) -> int:
    if synthetic == (clips is not None):
        raise PipelineError("give a folder of CLIPS, or --synthetic for none, and not both")
    with progress("stitch", total=1) as report:
        summary = stitch(clips, out, settings, report=report)
    _say(f"{out}: {summary.made} videos made now; what they show: {summary.annotations}")
    return _say_failures(summary.failed)


def run_report(run_folder: Path, out: Path | None, settings: ReportConfig) -> int:
    page = write_report(run_folder, out if out is not None else run_folder / "report", settings)
    _say(f"open {page}")
    return 0


def run_encoders() -> int:
    folder = cache_folder()
    table = Table(title=f"Encoders; published weights are looked for in {folder}")
    for name in ("encoder", "C", "frames", "window", "input", "weights", "file", "there"):
        table.add_column(name, overflow="fold")
    for name, entry in CATALOG.items():
        spec = entry.spec
        window = f"{spec.window_frames} at {spec.fps:g} fps = {spec.window_frames / spec.fps:.3f} s"
        for number, (weights, published) in enumerate(entry.published.items()):
            there = "yes" if (folder / published.file_name).is_file() else "no"
            frames = f"{spec.num_frames} x {spec.stack}" if spec.stack > 1 else str(spec.num_frames)
            columns = (name, str(spec.feature_dim), frames, window, f"{spec.crop_size} px {spec.modality}")
            first = columns if number == 0 else ("",) * len(columns)
            table.add_row(*first, weights, published.file_name, there)
    wide = Console(width=max(_out.width, 150))
    wide.print(table)
    wide.print(_preset_table())
    return 0


def _preset_table() -> Table:
    table = Table(title="Settings of published features: extract --preset NAME")
    for name in ("preset", "options", "what, and where it is stated"):
        table.add_column(name, overflow="fold")
    for name, published in FEATURE_PRESETS.items():
        options = " ".join(f"--{key.replace('_', '-')} {value}" for key, value in published.options.items())
        table.add_row(name, options, published.source)
    return table


def run_annotations(file: Path) -> int:
    for line in annotation_summary(read_annotations(file)).lines():
        _say(line)
    return 0


def run_export(store: AnyPath, annotations: Path, out: Path, settings: ExportConfig) -> int:
    for line in export(FeatureStore.open(store), read_annotations(annotations), out, settings).lines():
        _say(line)
    return 0


def run_import(features: Path, out: Path, annotations: Path | None, settings: ImportConfig | None) -> int:
    if settings is None:
        store, report = import_export(features, out)
    else:
        truth = read_annotations(annotations) if annotations else None
        store, report = import_features(features, out, settings, annotations=truth)
    for line in report.notes:
        _note(line)
    _say(f"{store.path}: {len(report.done)} sequences, {len(report.failed)} failed")
    return _say_failures(report.failed)

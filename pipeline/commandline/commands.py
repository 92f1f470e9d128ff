"""What each command does and prints: results on standard output, progress and warnings on standard error.

Each command imports only what it uses, so that a look into a file does not wait for torch.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.commandline.outputs import require_suffix
from pipeline.commandline.terminal import note, say, say_failures, say_faults, say_stage, show
from pipeline.errors import SOME_FAILED, PipelineError
from pipeline.progress import progress
from pipeline.text.plain import counted

if TYPE_CHECKING:
    from pipeline.annotations.config import ConvertConfig
    from pipeline.config import (
        AblateConfig,
        CompareConfig,
        EvaluateConfig,
        LocalizeConfig,
        ProbeConfig,
        ReportConfig,
        RunConfig,
    )
    from pipeline.extraction.config import ExtractConfig
    from pipeline.heads.config import TrainConfig
    from pipeline.report.facts import ReportFacts
    from pipeline.storage.location import AnyPath
    from sola.config import FilterName, SolaConfig

_PROBED = 32  # number of videos whose durations a dry run reads


def run_extract(videos: list[AnyPath], out: AnyPath, settings: ExtractConfig, *, dry_run: bool) -> int:
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
    for line in summary.notes:
        note(line)
    say(f"{store.path}: {summary.text()}")
    return say_failures(summary.failed)


def run_sola(store: AnyPath, out: AnyPath, settings: SolaConfig, module: Path | None, reference: Path | None) -> int:
    from pipeline.stages.enhance import enhance_store, export_reference
    from pipeline.store.feature_store import MODULE_FILE, FeatureStore
    from sola.diagnostics import at_end
    from sola.distributed import joined_team
    from sola.gauge_text import gauge_lines
    from sola.reference_checkpoint import check_reference

    if reference is not None and module is None:
        check_reference(settings.kernel_sizes, settings.dilations)  # before hours of work
    with joined_team(settings.device) as team, progress("sola", total=1, shown=team.is_first) as report:
        on_note = note if team.is_first else None
        enhanced, summary = enhance_store(
            FeatureStore.open(store), out, settings, module_file=module, report=report, on_note=on_note, team=team
        )
    if not team.is_first:
        return 0
    say(f"{enhanced.path}: {summary.text()}")
    if summary.history:
        losses = [record["loss"] for record in summary.history]
        gate = summary.history[-1]["gate"]
        say(f"loss {losses[0]:.4f} -> {at_end(losses):.4f}, gate tanh(alpha) {gate:.4f}")
    if summary.gauge is not None:
        for line in [*gauge_lines(summary.gauge), summary.verdict()]:
            say(line)
    if reference is not None:
        say(f"written: {reference}; in the authors' YAML: {export_reference(out / MODULE_FILE, reference)}")
    return 0


def run_enhance(store: AnyPath, out: AnyPath, name: FilterName) -> int:
    from pipeline.stages.filter_store import filter_store
    from pipeline.store.feature_store import FeatureStore

    with progress("enhance", total=1) as report:
        filtered, line = filter_store(FeatureStore.open(store), out, name, report=report, on_note=note)
    say(f"{filtered.path}: {line}")
    return 0


def run_train(store: AnyPath, annotations: Path, out: Path, settings: TrainConfig) -> int:
    from pipeline.stages.train import train
    from pipeline.store.feature_store import FeatureStore

    with progress("train", total=1) as report:
        summary = train(FeatureStore.open(store), annotations, out, settings, report=report)
    for line in summary.notes:
        note(line)
    say(f"{out}: {summary.text()}")
    return 0


def run_localize(
    inputs: list[AnyPath],
    model: Path | None,
    out: Path,
    video_scores: Path | None,
    settings: LocalizeConfig,
    *,
    report_folder: Path | None = None,
    query: list[str] | None = None,
    background: str | None = None,
) -> int:
    from pipeline.commandline.found_table import found_table
    from pipeline.detection.video_scores import read_video_scores
    from pipeline.showing.files import FORM_SUFFIXES, check_suffix
    from pipeline.stages.localize import localize
    from pipeline.stages.localize_record import Localized
    from pipeline.stages.text_queries import NOTE, model_for

    require_suffix(out, ".json", *FORM_SUFFIXES)
    check_suffix(out)
    if report_folder is not None:
        from pipeline.report.page import require_report_folder

        require_report_folder(report_folder)
    loaded = model_for(inputs, model, query or [], settings, background=background)
    if query:
        note(NOTE)
    scores = read_video_scores(video_scores) if video_scores else None
    earlier = Localized(out, inputs, loaded, settings, video_scores)
    with progress("localize", total=1) as report:
        summary = localize(
            inputs, loaded, settings, video_scores=scores, known=earlier.known, keep=earlier.keep, report=report
        )
    for line in summary.notes:
        note(line)
    before = f"; {len(earlier.known)} of them were done before" if earlier.known else ""
    if not earlier.write(summary.detections):
        before += " (remove the file to do them again)"
    if table := found_table(summary.detections, earlier.proposed_score):
        show(table)
    found = counted(sum(map(len, summary.detections.values())), "detection")
    say(f"{out}: {found} in {counted(len(summary.detections), 'video')}, {len(summary.failed)} failed{before}")
    if report_folder is not None:
        from pipeline.config import ReportConfig
        from pipeline.report.detection_facts import Given, read_given

        trained = (loaded.training or {}).get("training_ids", ())
        given = Given(
            (),
            inputs,
            training_ids=trained,
            failed=summary.failed,
            located=(out, summary.detections),
            shown_score=loaded.best_score.score if loaded.best_score is not None else None,
        )
        say_report(read_given(given), report_folder, ReportConfig())
    return say_failures(summary.failed)


def run_evaluate(
    detections: Path, annotations: Path, out: Path | None, errors_plot: Path | None, settings: EvaluateConfig
) -> int:
    from pipeline.commandline.evaluation_tables import evaluation_tables
    from pipeline.plots.errors import plot_errors
    from pipeline.plots.figures import picture_files, save_figure
    from pipeline.stages.evaluate import evaluate
    from pipeline.storage.atomic_files import write_json

    if out is not None:
        require_suffix(out, ".json")
    written = picture_files(errors_plot) if errors_plot is not None else []
    result = evaluate(detections, annotations, replace(settings, diagnose=settings.diagnose or errors_plot is not None))
    if result.errors is not None and written:
        save_figure(plot_errors(result.errors), written)
    if out is not None:
        write_json(out, result.as_json())
        written.append(out)
    for line in result.notes:
        note(line)
    for table in evaluation_tables(result):
        show(table)
    for file in written:
        say(f"written: {file}")
    return 0


def run_run(settings: RunConfig) -> int:
    from pipeline.stages.run import run

    result = run(settings, say=say_stage)
    for title, file in result.evaluations.items():
        say(f"results {title}: {file}")
    return SOME_FAILED if result.failed else 0


def run_linear_probe(paths: list[AnyPath], annotations: Path, out: Path | None, settings: ProbeConfig) -> int:
    from pipeline.stages.linear_probe import probe, probe_rows
    from pipeline.storage.atomic_files import write_json
    from pipeline.store.feature_store import FeatureStore
    from pipeline.text.table import table_text

    if out is not None:
        require_suffix(out, ".json")
    with progress("linear-probe", total=1) as report:
        result = probe([FeatureStore.open(path) for path in paths], annotations, settings, report=report)
    if out is not None:
        write_json(out, result.as_json())
    for line in result.notes:
        note(line)
    learned, tested = result.videos
    title = f"Foreground against background in %, learned on {counted(learned, 'video')}, tested on {tested}"
    show(table_text(title, ["", *(store.title for store in result.stores)], probe_rows(result)))
    if out is not None:
        say(f"written: {out}")
    return 0


def run_ablate(file: Path, out: Path, settings: AblateConfig) -> int:
    from pipeline.ablation.ablate import ablate
    from pipeline.ablation.results import settings_of, table_of, write_results
    from pipeline.ablation.rotation import rotation_notes
    from pipeline.commandline.old_options import tell_old_name
    from pipeline.text.table import table_text

    results = ablate(file, out, settings, say=say_stage, on_old=partial(tell_old_name, str(file)))
    notes = rotation_notes(results)
    written = write_results(results, out, notes=notes)
    for line in notes:
        note(line)
    header, rows = table_of(settings_of(results))
    show(table_text("Mean and deviation over the seeds, in %", header, rows))
    for path in written:
        say(f"written: {path}")
    return say_failures({result.cell.name: result.failure for result in results if result.failure})


def run_compare(file: Path, out: Path, settings: CompareConfig) -> int:
    from pipeline.commandline.old_options import tell_old_name
    from pipeline.comparison.compare import compare
    from pipeline.comparison.plan import read_plan
    from pipeline.comparison.table import write_comparison

    plan = read_plan(file, settings, on_old=partial(tell_old_name, str(file)))
    results = compare(plan, out, say=say_stage, on_result=write_comparison)
    failed = {f"{result.cell.label}, seed {result.cell.seed}": result.failure for result in results if result.failure}
    if len(failed) < len(results):
        show((out / "comparison.md").read_text(encoding="utf-8").rstrip())
        say(f"written: {out / 'comparison.md'}")
    return say_failures(failed)


def run_report(
    source: Path,
    out: Path | None,
    videos: list[AnyPath] | None,
    annotations: Path | None,
    compare: list[Path] | None,
    settings: ReportConfig,
) -> int:
    from pipeline.report.comparison_facts import COMPARISON_FILE, read_comparison
    from pipeline.report.detection_facts import given_of, read_given
    from pipeline.report.page import require_report_folder
    from pipeline.report.run_facts import read_run

    is_run = source.is_dir()
    if is_run and (videos or annotations or compare):
        raise PipelineError(
            f"{source} is a folder, that of a run, which knows its videos and annotations; --videos, --annotations and "
            "--compare are for a file of detections"
        )
    if out is None:
        out = source / "report" if is_run else source.with_name(f"{source.stem}-report")
    require_report_folder(out)
    if (source / COMPARISON_FILE).is_file():
        facts = read_comparison(source)
    elif is_run:
        facts = read_run(source, linear_evaluation=settings.linear_evaluation)
    else:
        facts = read_given(given_of(source, videos or (), annotations, compare or ()))
    say_report(facts, out, settings)
    return 0


def say_report(facts: ReportFacts, out: Path, settings: ReportConfig) -> None:
    from pipeline.report.page import write_report

    with progress("report", total=1) as report:
        page = write_report(facts, out, settings, report=report)
    say(f"open {page}")


def run_annotations(files: list[Path], out: Path | None, videos: list[AnyPath] | None, settings: ConvertConfig) -> int:
    from pipeline.annotations import summary as annotation_summary
    from pipeline.annotations.faults import FaultyAnnotationsError
    from pipeline.stages.convert_annotations import convert

    try:
        with progress("annotations", total=1, shown=bool(videos)) as report:
            done = convert(files, out, settings, videos=videos, report=report)
    except FaultyAnnotationsError as error:
        return say_faults(error.lines, "nothing is written: correct them, or leave them out with --skip-faults")
    for line in done.notes:
        note(line)
    if done.annotations is not None:
        found = annotation_summary(done.annotations)
        if not found.videos:
            raise PipelineError(f"annotations {', '.join(map(str, files))}: it has no videos")
        for line in found.lines():
            say(line)
    if done.written:
        more = f" and {counted(len(done.written) - 1, 'more file')}" if len(done.written) > 1 else ""
        say(f"written: {done.written[0]}{more}")
    if done.faults:
        say_faults(done.faults, "left out")
        return SOME_FAILED
    return 0

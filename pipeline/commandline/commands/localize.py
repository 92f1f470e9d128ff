"""`localize`: videos or features to detections."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pipeline.commandline.app import Flat, Locations, app
from pipeline.commandline.outputs import require_suffix
from pipeline.commandline.terminal import note, say, say_failures, show
from pipeline.config import LocalizeConfig
from pipeline.errors import PipelineError
from pipeline.progress import progress
from pipeline.report.config import ReportConfig
from pipeline.text.plain import counted


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
        live: In place of videos, a source that goes on: rtsp://…, http://… (MPEG-TS), a webcam (/dev/video0), or a file
            or pipe that another program writes. Detections are appended to OUT (.jsonl) as they are found, one JSON
            line each, until the source ends or you press Ctrl-C.
        out: Detections: a .json file in ActivityNet's submission format; a table, .csv or .jsonl, with video, start,
            end (seconds), label and score; or, of the detections worth showing, subtitles (.srt, .vtt) or a file of
            ELAN (.eaf), where several videos get a folder of this name, with a file each.
        video_scores: Class scores of whole videos. Detections are then proposals for each video's two best classes, for
            heads trained with --class-agnostic. JSON {id: {label: score}}, or {"results": {id: [scores]}, "class":
            [labels]}; or NAME.npy [videos, classes] with NAME.videos.txt and NAME.labels.txt beside it, one name per
            line (UntrimmedNet's array for THUMOS14 needs neither).
        report: Also write a report into this folder: the videos with their detections, as `report` does.
    """
    from pipeline.commandline.commands.report import say_report
    from pipeline.commandline.commands.without_labels import run_like

    if live is not None:
        from pipeline.commandline.live_command import run_live

        others: dict[str, object] = {"videos": videos_or_store, "--like": like, "--query": query}
        others |= {"--video-scores": video_scores, "--report": report}
        return run_live(live, model, out, settings, refused=[name for name, value in others.items() if value])
    if not videos_or_store:
        raise PipelineError("give videos or a store, or --live SOURCE")
    if like:
        return run_like(videos_or_store, like, out, settings, report_folder=report)
    from pipeline.commandline.found_table import found_table
    from pipeline.detection.video_scores import read_video_scores
    from pipeline.showing.files import FORM_SUFFIXES, check_suffix
    from pipeline.stages.localize import localize
    from pipeline.stages.localize_record import Localized
    from pipeline.stages.text_queries import NOTE, model_for

    require_suffix(out, ".json", *FORM_SUFFIXES)
    check_suffix(out)
    if report is not None:
        from pipeline.report.page import require_report_folder

        require_report_folder(report)
    loaded = model_for(videos_or_store, model, query or [], settings, background=background)
    if query:
        note(NOTE)
    scores = read_video_scores(video_scores) if video_scores else None
    earlier = Localized(out, videos_or_store, loaded, settings, video_scores)
    with progress("localize", total=1) as on_progress:
        summary = localize(videos_or_store, loaded, settings, video_scores=scores, earlier=earlier, report=on_progress)
    for line in summary.notes:
        note(line)
    before = f"; {len(earlier.known)} of them were done before" if earlier.known else ""
    if not earlier.write(summary.detections):
        before += " (remove the file to do them again)"
    if table := found_table(summary.detections, earlier.proposed_score):
        show(table)
    found = counted(sum(map(len, summary.detections.values())), "detection")
    say(f"{out}: {found} in {counted(len(summary.detections), 'video')}, {len(summary.failed)} failed{before}")
    if report is not None:
        from pipeline.report.detection_facts import Given, read_given

        trained = (loaded.training or {}).get("training_ids", ())
        given = Given(
            (),
            videos_or_store,
            training_ids=trained,
            failed=summary.failed,
            located=(out, summary.detections),
            shown_score=loaded.best_score.score if loaded.best_score is not None else None,
            frame_rate=settings.frame_rate,
        )
        say_report(read_given(given), report, ReportConfig())
    return say_failures(summary.failed)

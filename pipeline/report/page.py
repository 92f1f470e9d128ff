"""Write a folder of HTML that opens from disk: what was found in videos, and how good it is."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.errors import PipelineError
from pipeline.plots.colors import class_colors
from pipeline.progress import Report, silent
from pipeline.report.config import ReportConfig
from pipeline.report.content import ComparedContent, PageContent, PageData, RunContent, VideoEntry
from pipeline.report.facts import ComparedMethods, ReportFacts
from pipeline.report.found_kinds import copy_pictures
from pipeline.report.media import MEDIA_FOLDER, make_media
from pipeline.report.pictures import PICTURE_FOLDER, Picture, draw_curves, draw_errors, draw_map, draw_tsms
from pipeline.report.tables import (
    Table,
    data_set_tables,
    error_meanings,
    error_table,
    linear_table,
    map_tables,
    settings_groups,
    stage_table,
)
from pipeline.report.text import clock, duration, percent, script_json, shown
from pipeline.report.timelines import VIDEO_FOLDER, video_entries, write_timelines
from pipeline.report.verdict import Verdict, verdict
from pipeline.storage.atomic_files import write_text
from pipeline.text.plain import counted

if TYPE_CHECKING:
    from jinja2 import Template

PAGE = "index.html"
_ASSETS = ("report.css", "player.css", "timeline.js", "player.js", "report.js")
_SHOWN_FAILURES = 200
_SHOWN_AT_FIRST = 5  # detections a video, if no ground truth says where to cut


def write_report(facts: ReportFacts, out: Path, config: ReportConfig, *, report: Report = silent) -> Path:
    """Write the report into folder `out`, and return its page.

    Args:
        facts: of a run, or of detections.
        out: a new folder, or one with an earlier report.
        config: what to show.
        report: gets the progress of looking at the videos.

    Raises:
        PipelineError: `out` holds something else.
    """
    require_report_folder(out)
    out.mkdir(parents=True, exist_ok=True)
    media = make_media(facts.videos, out, config, report=report)
    entries = video_entries(facts, media)
    write_timelines(facts, out, entries, media, max_detections=config.max_detections)
    for name in _ASSETS:
        write_text(out / name, files("pipeline.report").joinpath(name).read_text(encoding="utf-8"))
    shutil.rmtree(out / PICTURE_FOLDER, ignore_errors=True)
    page = _template().render(**_content(facts, out, entries, config))
    write_text(out / PAGE, page)  # last, so that an existing page is complete
    return out / PAGE


def require_report_folder(out: Path) -> None:
    """Refuse a folder that holds something else than an earlier report, before any work is done.

    Raises:
        PipelineError: it does.
    """
    known = {PAGE, PICTURE_FOLDER, VIDEO_FOLDER, MEDIA_FOLDER, *_ASSETS}
    if out.exists() and (
        not out.is_dir() or any(path.name not in known and not path.name.startswith(".") for path in out.iterdir())
    ):
        raise PipelineError(f"{out} exists and is not a report; choose another folder")


def _template() -> Template:
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, finalize=shown
    )
    environment.filters["percent"] = percent
    environment.filters["clock"] = clock
    return environment.from_string(files("pipeline.report").joinpath("page.html.jinja").read_text(encoding="utf-8"))


def _content(facts: ReportFacts, out: Path, entries: list[VideoEntry], config: ReportConfig) -> PageContent:
    """Return the variables of the template."""
    found = verdict(facts)
    return {
        "title": facts.title,
        "cards": _cards(facts, entries),
        "notes": facts.notes,
        "verdict": found,
        "map_picture": draw_map(found, out) if found is not None else None,
        "curves": draw_curves(facts, out),
        "heads": [_head_text(facts, way) for way in facts.heads],
        "maps": map_tables(facts.evaluations),
        "errors": error_table(facts.evaluations),
        "meanings": error_meanings(facts.evaluations),
        "error_pictures": draw_errors(facts, out),
        "data_set": data_set_tables(facts),
        "places": {entry["id"]: place for place, entry in enumerate(entries) if entry["file"]},
        "data": script_json(_page_data(facts, entries, found)),
        "compared": _compared_content(facts.compared, out) if facts.compared is not None else None,
        "kinds": copy_pictures(facts.kinds, out) if facts.kinds is not None else None,
        **_run_content(facts, out, config),
    }


def _compared_content(compared: ComparedMethods, out: Path) -> ComparedContent:
    """Return what `compare` found, with its picture beside the page."""
    place = f"{PICTURE_FOLDER}/comparison.png"
    (out / PICTURE_FOLDER).mkdir(parents=True, exist_ok=True)
    shutil.copyfile(compared.picture, out / place)
    picture = Picture(place, "mAP of each method against the operations of its training")
    table = Table("", compared.header, compared.rows)
    return {"sentence": compared.sentence, "table": table, "picture": picture, "notes": compared.notes}


def _page_data(facts: ReportFacts, entries: list[VideoEntry], found: Verdict | None) -> PageData:
    """Return what the page's scripts know from the start."""
    labels = facts.labels()
    scores = [d.score for way in facts.detections.values() for items in way.values() for d in items]
    low, high = min([0.0, *scores]), max([1.0, *scores])
    first = facts.shown_score if found is None else found.score
    ranked = sorted(d.score for items in next(iter(facts.detections.values()), {}).values() for d in items)
    start = ranked[-min(len(ranked), _SHOWN_AT_FIRST * max(1, len(facts.videos)))] if ranked else low
    return {
        "videos": entries,
        "classes": labels,
        "colors": list(class_colors(labels).values()),
        "ways": list(facts.detections),
        "score": {"low": low, "high": high, "start": start if first is None else first},
    }


def _run_content(facts: ReportFacts, out: Path, config: ReportConfig) -> RunContent:
    """Return the variables that only a run fills."""
    run = facts.run
    if run is None:
        return {
            "random_weights": False,
            "sola": None,
            "linear": None,
            "tsms": [],
            "stages": None,
            "failures": [],
            "more_failures": 0,
            "settings": [],
        }
    return {
        "random_weights": _has_random_weights(run.store.spec.weights),
        "sola": run.sola,
        "linear": linear_table(run.linear) if run.linear is not None else None,
        "tsms": draw_tsms(facts, run, out, _tsm_videos(facts, config.tsm_videos)),
        "stages": stage_table(run),
        "failures": list(run.failures.items())[:_SHOWN_FAILURES],
        "more_failures": max(0, len(run.failures) - _SHOWN_FAILURES),
        "settings": settings_groups(run),
    }


def _has_random_weights(weights: Mapping[str, Any]) -> bool:
    """Return whether the weights of the encoder, or of one of its streams, are random."""
    streams = [value for value in weights.values() if isinstance(value, dict)] or [dict(weights)]
    return any(bool(stream.get("random")) for stream in streams)


def _tsm_videos(facts: ReportFacts, most: int) -> list[str]:
    """Return some videos to draw: those with the most kinds of actions, unseen ones before training videos."""
    drawn = [video for video in facts.videos if video.rows]
    kinds = {video.id: len({segment.label for segment in facts.truth(video.id)}) for video in drawn}
    return [v.id for v in sorted(drawn, key=lambda v: (v.seen_in_training, -kinds[v.id]))][:most]


def _cards(facts: ReportFacts, entries: list[VideoEntry]) -> list[tuple[str, str]]:
    """Return the few numbers at the top: (value, description)."""
    done = [entry for entry in entries if entry["file"]]
    main = next(iter(facts.detections.values()), None)
    if main is None:
        segments = (sum(len(facts.truth(video.id)) for video in facts.videos), "annotated segments")
    else:
        segments = (sum(map(len, main.values())), "detections")
    cards = [
        (f"{len(done):,}", "videos"),
        (duration(sum(entry["seconds"] or 0 for entry in done)), "of video"),
        (f"{segments[0]:,}", segments[1]),
        (f"{len(facts.labels()):,}", "classes"),
    ]
    if rows := sum(entry["rows"] for entry in done):
        cards.append((f"{rows:,}", "snippets"))
    return [*cards, (f"{len(entries) - len(done):,}", "failed")]


def _head_text(facts: ReportFacts, way: str) -> str:
    curve = facts.heads[way]
    best = max((score for _, score in curve.validations), default=None)
    score = "" if best is None else f", validation mAP {percent(best)} %"
    videos = f"{counted(curve.training_videos, 'training video')} and {curve.validation_videos} for validation"
    return f"{way}: {videos}; epoch {curve.best_epoch} of {len(curve.losses)} was kept{score}"


__all__ = ["PAGE", "require_report_folder", "write_report"]

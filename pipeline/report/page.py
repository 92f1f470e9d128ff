"""Stage: turn the folder of a run into a folder of HTML."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.annotations import summary
from pipeline.config import ReportConfig, RunConfig
from pipeline.errors import PipelineError
from pipeline.metrics.error_analysis import KINDS
from pipeline.plots.errors import length_names
from pipeline.report.facts import WITH, RunFacts, read_run
from pipeline.report.pictures import PICTURE_FOLDER, draw_errors, draw_map, draw_tsms
from pipeline.report.text import duration, percent, script_json, shown
from pipeline.report.timelines import VIDEO_FOLDER, VideoEntry, class_places, video_entries, write_timelines
from pipeline.stages.evaluate import Evaluation
from pipeline.stages.linear_probe import probe_rows
from pipeline.storage.atomic_files import write_text
from sola.config import SolaConfig
from sola.old_names import current_names

if TYPE_CHECKING:
    from jinja2 import Template

PAGE = "index.html"
_ASSETS = ("report.css", "report.js")
_SHOWN_FAILURES = 200


@dataclass(frozen=True)
class Table:
    """A table of the page: `header`, `rows`, and how many rows at the end are sums."""

    title: str
    header: list[str]
    rows: list[list[str]]
    sums: int = 0


def write_report(run: Path, out: Path, config: ReportConfig) -> Path:
    """Write the report of the run in folder `run` into folder `out`, and return its page.

    Raises:
        PipelineError: `run` is not a run, or `out` holds something else.
    """
    if out.exists() and (not out.is_dir() or _foreign(out)):
        raise PipelineError(f"{out} exists and is not a report; choose another --out")
    facts = read_run(run, linear_evaluation=config.linear_evaluation)
    entries = video_entries(facts)
    out.mkdir(parents=True, exist_ok=True)
    write_timelines(facts, out, entries, max_detections=config.max_detections)
    for name in _ASSETS:
        write_text(out / name, files("pipeline.report").joinpath(name).read_text(encoding="utf-8"))
    shutil.rmtree(out / PICTURE_FOLDER, ignore_errors=True)
    page = _template().render(**_content(facts, out, entries, config))
    write_text(out / PAGE, page)  # last, so that an existing page is complete
    return out / PAGE


def _has_random_weights(weights: dict[str, Any]) -> bool:
    """Return whether the weights of the encoder, or of one of its streams, are random."""
    streams = [value for value in weights.values() if isinstance(value, dict)] or [weights]
    return any(bool(stream.get("random")) for stream in streams)


def _foreign(out: Path) -> bool:
    known = {PAGE, PICTURE_FOLDER, VIDEO_FOLDER, *_ASSETS}
    return any(path.name not in known and not path.name.startswith(".") for path in out.iterdir())


def _template() -> Template:
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, finalize=shown
    )
    environment.filters["percent"] = percent
    return environment.from_string(files("pipeline.report").joinpath("page.html.jinja").read_text(encoding="utf-8"))


def _content(facts: RunFacts, out: Path, entries: list[VideoEntry], config: ReportConfig) -> dict[str, Any]:
    """Return the variables of the template."""
    labels = list(class_places(facts))
    recorded = facts.settings.get("annotations")
    shown = _tsm_videos(facts, config.tsm_videos)
    data = {"videos": entries, "classes": labels, "ways": list(facts.detections)}
    return {
        "title": facts.folder.resolve().name,
        "cards": _cards(facts, entries),
        "notes": facts.notes,
        "random_weights": _has_random_weights(facts.store.spec.weights),
        "stages": _stage_table(facts),
        "settings": _settings(facts),
        "data_set": _data_set_tables(facts),
        "failures": list(facts.failures.items())[:_SHOWN_FAILURES],
        "more_failures": max(0, len(facts.failures) - _SHOWN_FAILURES),
        "linear": _linear_table(facts),
        "map_picture": draw_map(facts, out) if facts.evaluations else None,
        "maps": [table for way, found in facts.evaluations.items() for table in _map_tables(way, found)],
        "errors": [_error_table(way, found) for way, found in facts.evaluations.items() if found.errors is not None],
        "error_pictures": draw_errors(facts, out),
        "tsms": draw_tsms(facts, out, shown, Path(recorded) if recorded and facts.annotations else None),
        "data": script_json(data),
    }


def _tsm_videos(facts: RunFacts, most: int) -> list[str]:
    """Return some videos to draw, those with the most kinds of actions first."""
    ids = [video_id for video_id in facts.store.ids() if (facts.store.sidecar(video_id) or {"shape": [0]})["shape"][0]]
    known = facts.annotations.videos if facts.annotations else {}
    return sorted(ids, key=lambda i: -len({s.label for s in known[i].segments}) if i in known else 0)[:most]


def _cards(facts: RunFacts, entries: list[VideoEntry]) -> list[tuple[str, str]]:
    """Return the few numbers at the top: (value, description)."""
    done = [entry for entry in entries if entry["file"]]
    cards = [
        (f"{len(done):,}", "videos"),
        (duration(sum(entry["seconds"] or 0 for entry in done)), "of video"),
        (f"{sum(entry['rows'] for entry in done):,}", "snippets"),
        (f"{len(facts.failures):,}", "failed"),
    ]
    for way, evaluation in facts.evaluations.items():
        for name, result in evaluation.results.items():
            low, high = min(result.tious), max(result.tious)
            cards.append((f"{percent(result.average)} %", f"mAP {way}, tIoU {low:g} to {high:g} ({name})"))
    return cards


def _stage_table(facts: RunFacts) -> Table:
    rows = [
        [
            name,
            duration(record.get("seconds", 0.0)),
            f"{record.get('peak_memory_megabytes_so_far', 0):,}",
            record["text"],
        ]
        for name, record in facts.stages.items()
    ]
    total = sum(record.get("seconds", 0.0) for record in facts.stages.values())
    return Table(
        "", ["stage", "time", "peak memory so far, MB", "what it did"], [*rows, ["all", duration(total), "", ""]], 1
    )


def _settings(facts: RunFacts) -> list[tuple[str, list[tuple[str, str]]]]:
    """Return groups of (name, value): the run's settings, then the stores' description of the features."""
    spec = facts.store.spec.as_json()
    groups: dict[str, Any] = {
        "features: what a row means": spec["rows"],
        "features: encoder": spec["encoder"],
        "features: weights and arithmetic": {
            "weights": spec["weights"],
            "precision": spec["precision"],
            "dtype": spec["dtype"],
        },
    }
    if facts.enhanced is not None and facts.enhanced.spec.sola is not None:
        sola = facts.enhanced.spec.sola
        groups["SoLa"] = {**current_names(SolaConfig, sola["settings"]), "module": sola["module_sha256"]}
    ids = facts.store.ids()
    if ids:
        groups["libraries"] = (facts.store.sidecar(ids[0]) or {}).get("libraries", {})
    loose = {name: value for name, value in facts.settings.items() if not isinstance(value, dict)}
    groups |= {"run": loose} if loose else {}
    given = current_names(RunConfig, facts.settings)
    groups |= {f"run: {name}": value for name, value in given.items() if isinstance(value, dict)}
    return [(name, _flat(value)) for name, value in groups.items()]


def _flat(value: Any, prefix: str = "") -> list[tuple[str, str]]:
    if isinstance(value, dict):
        return [pair for key, item in value.items() for pair in _flat(item, f"{prefix}.{key}" if prefix else str(key))]
    if isinstance(value, (list, tuple)):
        return [(prefix, ", ".join(map(str, value)))]
    return [(prefix, "–" if value is None else str(value))]


def _data_set_tables(facts: RunFacts) -> list[Table]:
    if facts.annotations is None:
        return []
    found = summary(facts.annotations)
    tables = []
    for title, groups in (("Subsets", found.subsets), ("Classes", found.classes)):
        rows = [
            [
                g.name or "(none)",
                str(g.videos),
                str(g.segments),
                "–" if g.median_seconds is None else f"{g.median_seconds:.1f}",
            ]
            for g in groups
        ]
        tables.append(Table(title, [title.lower(), "videos", "segments", "median length, s"], rows))
    return tables


def _linear_table(facts: RunFacts) -> Table | None:
    if facts.linear is None:
        return None
    ways = [store.view or (WITH if store.sola else "without SoLa") for store in facts.linear.stores]
    train, test = facts.linear.videos
    seeds = len(facts.linear.config.seeds)
    title = f"Foreground against background, {train} videos to learn from, {test} to test on, {seeds} seeds, %"
    return Table(title, ["measure", *ways], [list(row) for row in probe_rows(facts.linear)])


def _map_tables(way: str, evaluation: Evaluation) -> list[Table]:
    """Return tables of AP by class and tIoU, one for each set of thresholds."""
    tables = []
    for name, result in evaluation.results.items():
        header = ["class", "segments", *(f"{tiou:g}" for tiou in result.tious), "mean"]
        rows = [
            [label, str(int(count)), *map(percent, values), percent(float(values.mean()))]
            for label, count, values in zip(result.labels, result.segments, result.per_class, strict=True)
        ]
        rows.append(["mAP", str(int(result.segments.sum())), *map(percent, result.map), percent(result.average)])
        rules = f"protocol {result.protocol}, {evaluation.videos} videos of subset {evaluation.subset}"
        tables.append(Table(f"AP in % {way}, thresholds of {name}; {rules}", header, rows, 1))
    return tables


def _error_table(way: str, evaluation: Evaluation) -> Table:
    errors = evaluation.errors
    assert errors is not None
    rows = [
        [name, str(int(errors.counts[:, kind].sum())), f"{100 * errors.gain[kind]:.1f}" if kind else ""]
        for kind, name in enumerate(KINDS)
    ]
    for name, missed, of in zip(length_names(errors.bounds_seconds), errors.missed, errors.segments, strict=True):
        rows.append([f"missed, {name} s long", f"{int(missed)} of {int(of)}", ""])
    return Table(f"Errors {way} at tIoU {errors.tiou:g}", ["kind", "count", "mAP gained without, points"], rows)


__all__ = ["PAGE", "WITH", "write_report"]

"""The experiment of the paper on one data set: its settings, as files of `ablate`, and its table."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pipeline.heads.presets import preset
from pipeline.storage.atomic_files import whole_file
from pipeline.storage.read_files import read_toml

HERE = Path(__file__).resolve().parent
SOURCES = sorted(path.stem for path in HERE.glob("*_*.toml"))


def read_source(name: str) -> dict[str, Any]:
    """Return what is known about published features: how to import them, their size, results with them."""
    return read_toml(HERE / f"{name}.toml")


def experiment(
    source: dict[str, Any], *, heads: Sequence[str], seeds: int | None, quick: bool, video_scores: Path | None
) -> dict[str, Any]:
    """Return the content of a file of `ablate`: a variant for each row and head.

    Args:
        source: see `read_source`.
        heads: kinds of heads; none: all of the experiment.
        seeds: their number; None: as in the file of rows.
        quick: tiny networks, few steps.
        video_scores: class scores that name proposals; without them heads learn the classes.
    """
    rows = read_toml(HERE / "rows.toml")
    small = rows["quick"] if quick else {}
    numbers = list(range(seeds)) if seeds else small.get("seeds", rows["seeds"])
    train = {kind: _train(source["preset"], kind, small, video_scores is not None) for kind in rows["heads"]}
    first = train["gtad"]
    subsets = {"train_subset": first["train_subset"], "test_subset": first["validation_subset"]}
    plan = {
        "seeds": numbers,
        "sola": {**rows["sola"], **small.get("sola", {})},
        "evaluate": {"subset": first["validation_subset"]},
        "linear_probe": subsets,
        "variants": [
            {"name": f"{kind}: {row['name']}"} | _without(row, "name", "heads") | {"train": _merged(settings, row)}
            for kind, settings in train.items()
            for row in rows["rows"]
            if kind in row.get("heads", rows["heads"]) and kind in (heads or rows["heads"])
        ],
    }
    return plan | ({"video_scores": str(video_scores.resolve())} if video_scores else {})


def write_plan(file: Path, plan: dict[str, Any]) -> None:
    """Write a file of `ablate`."""
    with whole_file(file) as partial:
        partial.write_text("\n".join(_toml(plan)) + "\n", encoding="utf-8")


def write_table(out: Path, source: dict[str, Any]) -> Path:
    """Write OUT/results.md from OUT/summary.csv, with the known results beside ours, and return it.

    Args:
        out: the folder of a finished `ablate`.
        source: see `read_source`.
    """
    with (out / "summary.csv").open(encoding="utf-8", newline="") as lines:
        summary = list(csv.DictReader(lines))
    notes = (out / "notes.txt").read_text(encoding="utf-8").splitlines() if (out / "notes.txt").exists() else []
    header = ["features", "head", "row", "seeds", "linear evaluation", "balanced", "within 1", "mAP", "change", "known"]
    lines_of = ["| " + " | ".join(row) + " |" for row in [header, ["---"] * len(header), *_rows(summary, source)]]
    known = [f"- {k['head']}, standard: {k['map']:.2f}: {k['source']}" for k in source.get("known", ())]
    parts = [
        "Mean ± standard deviation over the seeds, in %. Change: of mAP, against the standard row of the same head.",
        *(f"**{note}**" for note in notes),
        "\n".join(lines_of),
        "Known results with these features, by other code:\n\n" + ("\n".join(known) or "- none"),
        "The tables of SoLa's paper (arXiv 2211.06023) are not copied here: compare the changes with them.",
    ]
    with whole_file(out / "results.md") as partial:
        partial.write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    return out / "results.md"


def _train(data_set: str, kind: Any, small: dict[str, Any], class_agnostic: bool) -> dict[str, Any]:
    """Return the preset of a head as plain values, without what the seeds set and what is unset."""
    values = json.loads(json.dumps(asdict(preset(data_set, kind=kind))))
    module = {"padding": values["module"]["padding"]}  # the rest is SoLa's defaults
    values = _without(values, "seed") | {"module": module, "class_agnostic": class_agnostic}
    return _merged(values, {"train": small.get("train", {})})


def _merged(values: dict[str, Any], row: dict[str, Any]) -> dict[str, Any]:
    """Return settings of a head with those of a row's table [train] put over them."""
    merged = dict(values)
    for name, value in row.get("train", {}).items():
        merged[name] = _merged(values[name], {"train": value}) if isinstance(value, dict) else value
    return merged


def _rows(summary: Sequence[dict[str, str]], source: dict[str, Any]) -> Iterator[list[str]]:
    known: dict[str, list[str]] = {}
    for one in source.get("known", ()):
        known.setdefault(one["head"], []).append(f"{one['map']:.2f}")
    measure = "map_thumos" if source["preset"] == "thumos14" else "map_activitynet"
    standard: dict[tuple[str, str], float] = {}
    for row in summary:
        features = Path(row.get("store", "features")).name
        head, _, name = row["variant"].partition(": ")
        mean = float(row[f"{measure}_mean"])
        if name == "standard":
            standard[features, head] = mean
        before = standard.get((features, head))
        change = "" if before is None or name == "standard" else f"{100 * (mean - before):+.1f}"
        scores = [_score(row, m) for m in ("accuracy", "balanced_accuracy", "accuracy_within_1", measure)]
        yield [features, head, name, row["seeds"], *scores, change, *(
            [", ".join(known.get(head, ())) if name == "standard" else ""]
        )]  # fmt: skip


def _score(row: dict[str, str], name: str) -> str:
    if not row.get(f"{name}_mean"):
        return ""
    return f"{100 * float(row[f'{name}_mean']):.1f} ± {100 * float(row[f'{name}_deviation']):.1f}"


def _without(values: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name not in names}


def _toml(table: dict[str, Any], prefix: str = "", *, listed: bool = False) -> Iterator[str]:
    """Yield the lines of a table: its values first, then its tables."""
    if prefix:
        yield f"\n[[{prefix}]]" if listed else f"\n[{prefix}]"
    tables = {name: value for name, value in table.items() if isinstance(value, dict) or _is_tables(value)}
    for name, value in table.items():
        if name not in tables and value is not None:
            yield f"{name} = {json.dumps(value)}"
    for name, value in tables.items():
        where = f"{prefix}.{name}" if prefix else name
        for one in value if isinstance(value, list) else [value]:
            yield from _toml(one, where, listed=isinstance(value, list))


def _is_tables(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and isinstance(value[0], dict)

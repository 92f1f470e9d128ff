"""Write the tables of an experiment from the results of its stages: Markdown for people, CSV for programs."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from evidence_costs import STEP, Comparison, Cost, costs_of

from pipeline.ablation.results import SHOWN
from pipeline.storage.atomic_files import whole_file
from pipeline.storage.read_files import read_json


def write_evidence(out: Path, annotations: Path, heads_file: Path, records: dict[str, dict[str, Any]]) -> None:
    """Write OUT/evidence.md, costs.csv and stages.csv.

    Args:
        out: the folder of a finished experiment.
        annotations: of its videos.
        heads_file: the ablation of heads.
        records: of the stages: command, seconds, peak memory.
    """
    costs, comparison = costs_of(out, annotations, heads_file)
    linear, heads = (_read_csv(out / name / "summary.csv") for name in ("linear", "heads"))
    record = read_json(out / "encoder.json", what="record of pretrain")
    stages = list(stage_rows(records, read_json(out / "run" / "run.json", what="record of the run")["stages"]))
    of_networks = list(cost_rows(costs))
    _write_csv(out / "stages.csv", stages)
    _write_csv(out / "costs.csv", of_networks)
    classes = ", ".join(f"{name} {100 * value:.0f}" for name, value in record["per_class"].items())
    parts = [
        "Means ± standard deviations over the seeds, in %; gain is the share of the loss that a fit could gain.",
        f"## Encoder\n\nAccuracy {100 * record['accuracy']:.1f} on {record['clips'][1]} clips of held-out groups, "
        f"learned on {record['clips'][0]} in {record['seconds'] / 60:.1f} min. By class: {classes}.",
        "## Linear evaluation\n\n" + markdown(linear_rows(linear)) + f"\n\n{majority(linear)}",
        "## Mean average precision\n\n" + markdown(head_rows(heads)),
        "## Networks\n\n" + markdown(of_networks),
        "## Cost of adapting to the videos\n\n" + adapting(comparison),
        "## Stages\n\n" + markdown(stages),
        "## Commands\n\n" + "\n".join(f"    {value['command']}" for value in records.values()),
    ]
    with whole_file(out / "evidence.md") as partial:
        partial.write_text("\n\n".join(parts) + "\n", encoding="utf-8")


def linear_rows(summary: Sequence[dict[str, str]]) -> Iterator[list[str]]:
    """Yield header and rows: settings of the evaluation, then each measure that some row has."""
    shown = {name: title for name, title in SHOWN.items() if any(row.get(f"{name}_mean") for row in summary)}
    settings = [name for name in summary[0] if name.startswith("linear_probe.")]
    yield [*(name.removeprefix("linear_probe.") for name in settings), "SoLa", "seeds", *shown.values()]
    in_order = list(dict.fromkeys(tuple(row[name] for name in settings) for row in summary))
    for row in sorted(summary, key=lambda row: in_order.index(tuple(row[name] for name in settings))):
        yield [*(row[name] for name in settings), row["variant"], row["seeds"], *(score(row, name) for name in shown)]


def head_rows(summary: Sequence[dict[str, str]]) -> Iterator[list[str]]:
    """Yield header and rows: head, SoLa, mAP at each tIoU and their means, heads one after the other."""
    named = [name.removesuffix("_mean") for name in summary[0] if name.startswith("map_at_") and name.endswith("_mean")]
    titles = {name: f"tIoU {name.removeprefix('map_at_')}" for name in named} | {"map_own": "mean"}
    yield ["head", "SoLa", "seeds", *titles.values()]
    heads = list(dict.fromkeys(row["train.head.kind"] for row in summary))
    for row in sorted(summary, key=lambda row: heads.index(row["train.head.kind"])):
        yield [row["train.head.kind"], row["variant"], row["seeds"], *(score(row, name) for name in titles)]


def score(row: dict[str, str], name: str) -> str:
    """Return mean and deviation of one measure in percent; of the gain as a share."""
    if not row.get(f"{name}_mean"):
        return ""
    mean, deviation = float(row[f"{name}_mean"]), float(row[f"{name}_deviation"])
    return f"{mean:.2f} ± {deviation:.2f}" if name == "gain" else f"{100 * mean:.1f} ± {100 * deviation:.1f}"


def majority(summary: Sequence[dict[str, str]]) -> str:
    """Return the baseline of the accuracies, as a sentence."""
    return f"Always the larger class: accuracy {100 * float(summary[0]['majority_mean']):.1f}, balanced 50.0."


def cost_rows(costs: Sequence[Cost]) -> Iterator[list[str]]:
    """Yield header and rows of the networks' costs."""
    yield ["network", "parameters trained", "MFLOP a snippet", "TFLOP of its training"]
    for cost in costs:
        yield [cost.name, f"{cost.parameters:,}", f"{cost.per_snippet / 1e6:.2f}", f"{cost.training / 1e12:.3f}"]


def adapting(comparison: Comparison) -> str:
    """Return what SoLa saves, with the assumptions, as a paragraph."""
    factor = comparison.end_to_end / comparison.with_sola
    return (
        "Frozen encoder and SoLa (one pass of all snippets through both, and the fit): "
        f"{comparison.with_sola / 1e12:.2f} TFLOP. The encoder trained together with a head, instead: "
        f"{comparison.end_to_end / 1e12:.2f} TFLOP, {factor:.1f} times as much. That is computed, not run: every "
        "snippet that the head with the longest sequences sees in its training goes through the encoder, and a step "
        f"takes {STEP} times a forward pass. Pretraining comes before both and is counted for neither."
    )


def stage_rows(records: dict[str, dict[str, Any]], of_run: dict[str, dict[str, Any]]) -> Iterator[list[str]]:
    """Yield header and rows: minutes and memory of the largest process of each stage, and of the parts of `run`."""
    yield ["stage", "minutes", "memory of the largest process, MB"]
    for name, record in records.items():
        yield [name, f"{record['seconds'] / 60:.1f}", f"{record['peak_megabytes']:,}"]
        for part, value in of_run.items() if name == "run" else ():
            yield [f"run: {part}", f"{value['seconds'] / 60:.1f}", ""]
    total = sum(record["seconds"] for record in records.values())
    yield ["in all", f"{total / 60:.1f}", f"{max(record['peak_megabytes'] for record in records.values()):,}"]


def markdown(rows: Iterator[list[str]] | Sequence[list[str]]) -> str:
    """Return a Markdown table; the first row is its header."""
    header, *lines = rows
    return "\n".join("| " + " | ".join(row) + " |" for row in (header, ["---"] * len(header), *lines))


def _read_csv(file: Path) -> list[dict[str, str]]:
    with file.open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


def _write_csv(file: Path, rows: Sequence[Sequence[str]]) -> None:
    with whole_file(file) as partial, partial.open("w", encoding="utf-8", newline="") as lines:
        csv.writer(lines).writerows(rows)

"""What a comparison shows while it runs, and what is left of it when it is interrupted. Nothing is trained here."""

import csv
import json
from pathlib import Path

import pytest

from pipeline.comparison import compare as comparing
from pipeline.comparison import table
from pipeline.comparison.cells import make_cell_of
from pipeline.comparison.config import CompareConfig
from pipeline.comparison.costs import Cost
from pipeline.comparison.counted_stages import COSTS_FILE
from pipeline.comparison.methods import extract_features, train_encoder
from pipeline.comparison.pace import Pace, rows_by_encoder
from pipeline.comparison.plan import Plan, read_plan
from pipeline.comparison.rows import all_rows
from pipeline.comparison.table import write_comparison
from pipeline.errors import PipelineError
from pipeline.plots.quality_against_cost import Mark, draw_quality_against_cost

SCORES = {
    "accuracy": 0.7,
    "map_own": 0.5,
    "map_at_0.5": 0.4,
    "parameters": 10.0,
    "training_flop": 1e9,
    "extraction_flop": 1e9,
    "memory_megabytes": 100.0,
    "seconds": 5.0,
}


@pytest.fixture
def plan(tmp_path) -> Plan:
    (tmp_path / "videos").mkdir()
    (tmp_path / "annotations.json").write_text(json.dumps({"version": "1", "database": {}}))
    file = tmp_path / "plan.toml"
    file.write_text(
        f'videos = "{tmp_path}/videos"\nannotations = "{tmp_path}/annotations.json"\nseeds = [0, 1]\n'
        'rows = ["sola", "longer", "tsp", "bsp", "bsp_alone"]\n[extract]\nencoder = "tsn_r18"\nweights = "random"\n'
    )
    return read_plan(file, CompareConfig())


class Made:
    """Stands for the processes: what was made before takes no time, and Ctrl-C comes at a row."""

    def __init__(self) -> None:
        self.steps: list[str] = []
        self.there: set[str] = set()
        self.stop_at = ""
        self.fails = ""

    def __call__(self, work, given, what, seed):
        name = f"{what if isinstance(what, str) else what.key} {seed}"
        if work is make_cell_of and name == self.stop_at:
            raise KeyboardInterrupt
        if work is train_encoder and name == self.fails:
            raise PipelineError("no segments")
        is_new = f"{work.__name__} {name}" not in self.there
        self.there.add(f"{work.__name__} {name}")
        self.steps.append(name)
        lines = [work.__name__] if is_new and work in (train_encoder, extract_features) else []
        return (SCORES, is_new) if work is make_cell_of else lines


@pytest.fixture
def made(monkeypatch) -> Made:
    """Replace the processes; and the pictures, of which there are many, by the names in them."""
    one = Made()
    monkeypatch.setattr("pipeline.ablation.results.draw_results", lambda settings: "")
    monkeypatch.setattr("pipeline.ablation.results.save_figure", lambda figure, files: None)
    monkeypatch.setattr(table, "draw_quality_against_cost", lambda marks, missing: "\n".join(missing))
    monkeypatch.setattr(table, "save_figure", lambda names, files: files[0].write_text(names))
    monkeypatch.setattr(comparing, "in_process", one)
    return one


def run(plan: Plan, out: Path, said: list[str]) -> list[str]:
    """Return the first sentence of each table that is written."""
    tables: list[str] = []

    def write(given, results) -> None:
        write_comparison(given, results)
        tables.append(json.loads((out / "comparison.json").read_text())["verdict"].partition(". ")[0])

    comparing.compare(plan, out, say=said.append, on_result=write)
    return tables


def test_an_interrupted_comparison_shows_what_it_has_and_marks_the_rest(plan, made, tmp_path):
    out, said = tmp_path / "out", []
    made.stop_at = "bsp 0"
    with pytest.raises(KeyboardInterrupt):
        run(plan, out, said)
    # The rows of the start weights come first: they need no training.
    assert [line.split(",")[0] for line in said if "mAP" in line] == ["standard (frozen)", "SoLa", "TSP"]
    text = (out / "comparison.md").read_text()
    assert "Not finished: 3 of 12 rows and seeds are there." in text
    lines = [line.split(" | ") for line in text.splitlines() if line.startswith("| ")][2:]
    assert [line[0].removeprefix("| ") for line in lines] == [row.title for row in plan.rows]
    assert [line[1] for line in lines] == ["1 of 2", "1 of 2", "0 of 2", "1 of 2", "0 of 2", "0 of 2"]
    assert set(lines[2][3:]) == {"not yet", "not yet |"} and "not yet" not in " ".join(lines[0])
    with (out / "results.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["failure"] for row in rows] == ["", "", "not yet", "", *["not yet"] * 8]
    assert missing_in_picture(out) == ["longer pretraining", "BSP", "BSP, its features alone"]

    made.stop_at = ""
    tables = run(plan, out, said)
    # What was there before is not written again: a table never has less than the one before.
    assert tables[0] == "Not finished: 4 of 12 rows and seeds are there" and len(tables) == 12 - 3 + 1
    assert not any(table.startswith("Not finished") for table in tables[-2:])
    assert "not yet" not in (out / "comparison.md").read_text() and missing_in_picture(out) == []


def missing_in_picture(out: Path) -> list[str]:
    return (out / "comparison.png").read_text().splitlines()


def test_the_picture_names_what_is_still_to_come():
    figure = draw_quality_against_cost([Mark("a", 1e9, 40.0, 1.0)], ["TSP"])
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["TSP: not yet", "a: 40.0 ± 1.0"]


def test_a_row_that_failed_is_no_row_that_is_still_to_come(plan, made, tmp_path):
    made.fails, made.stop_at = "tsp 0", "bsp 0"
    with pytest.raises(KeyboardInterrupt):
        run(plan, tmp_path / "out", [])
    text = (tmp_path / "out" / "comparison.md").read_text()
    assert "Not finished: 3 of 12" in text and "- failed: TSP-seed0" in text and "no segments" in text
    assert "| TSP | 0 of 2 |" in text


def test_progress_tells_the_rows_that_are_done_and_the_time_that_is_left(plan, made, tmp_path, monkeypatch):
    clock = iter(range(0, 10**6, 60))  # every look at the clock is a minute later: so each step takes one
    monkeypatch.setattr("pipeline.comparison.pace.time.monotonic", lambda: float(next(clock)))
    said: list[str] = []
    run(plan, tmp_path / "out", said)
    told = [line[line.index("[") :] for line in said if line.endswith("]")]
    assert told[0] == "[1 of 12 rows done]"  # how long encoders take is not known yet
    # Of two seeds with three encoders and six rows each: one encoder and two rows are done.
    assert told[2] == "[2 of 12 rows done, about 15.0 min left]"
    assert told[-1] == "[12 of 12 rows done]"


def test_steps_that_are_still_to_come_take_as_long_as_with_another_seed_or_as_the_mean_of_their_kind(monkeypatch):
    known = all_rows()
    rows = [known[name] for name in ("longer", "standard", "tac", "tsp")]
    assert [(name, [row.key for row in of]) for name, of in rows_by_encoder(rows)] == [
        ("start", ["standard"]), ("tac", ["tac"]), ("tsp", ["tsp"]), ("longer", ["longer"]),
    ]  # fmt: skip
    now = [0.0]
    monkeypatch.setattr("pipeline.comparison.pace.time.monotonic", lambda: now[0])
    pace = Pace(rows, 2)

    def step(kind: str, name: str, seconds: float, before: float | None = None) -> None:
        with pace.step(kind, name) as earlier:
            now[0] += seconds
            earlier += [] if before is None else [before]

    step("row", "standard", 10)
    assert pace.seconds_left() is None
    step("encoder", "tac", 1, before=100)  # finished before: the time that it took then
    step("row", "tac", 20)
    # Encoders: tac 100, four others 100 each. Rows: standard 10, tac 20, four others 15 each.
    assert pace.seconds_left() == 5 * 100 + 10 + 20 + 4 * 15
    pace.skip("encoder", "tsp")
    pace.skip("row", "tsp")
    assert pace.seconds_left() == 4 * 100 + 10 + 20 + 3 * 15
    assert pace.text() == "3 of 8 rows done, about 7.9 min left"


def test_what_was_made_before_counts_with_the_seconds_that_it_took_then(tmp_path):
    cost = {"given": "x", "done": True, **Cost(seconds=40.0).__dict__}
    (tmp_path / COSTS_FILE).write_text(json.dumps({"pretrain": cost, "extract": cost, "open": {**cost, "done": False}}))
    assert comparing._seconds(tmp_path) == 80.0
    assert comparing._seconds(tmp_path, ("pretrain",)) == 40.0

"""The report of a comparison: its table, the detections of each row, and a record that must not lead elsewhere."""

import json
from pathlib import Path

import pytest

from pipeline.annotations.detections import write_detections
from pipeline.annotations.segments import Detection
from pipeline.errors import PipelineError
from pipeline.plots.figures import save_figure
from pipeline.plots.quality_against_cost import Mark, draw_quality_against_cost
from pipeline.report.comparison_facts import read_comparison
from pipeline.report.config import ReportConfig
from pipeline.report.page import write_report
from tests.pipeline.report.runs import EVIL, make_films, page_data
from tests.stores import annotate

ROWS = ("standard (frozen)", EVIL)


@pytest.fixture
def folder(tmp_path) -> Path:
    films = make_films(tmp_path / "films", count=1, seconds=8)
    truth = annotate(tmp_path / "annotations.json", {"film0": ("validation", 8.0, [(2.0, 4.0, "jump")])})
    out = tmp_path / "comparison"
    (out / "cells").mkdir(parents=True)
    for number in range(len(ROWS)):
        write_detections(out / "cells" / f"{number}.json", {"film0": [Detection((2.0, 4.0 + number), "jump", 0.9)]})
    save_figure(draw_quality_against_cost([Mark("a", 1e9, 40.0, 1.0)]), [out / "comparison.png"])
    record = {
        "verdict": "Nothing differs.",
        "header": ["method", "mAP"],
        "rows": [[row, "40.0 ± 1.0"] for row in ROWS],
        "failures": {"TSP-seed0": "no segments"},
        "notes": ["Machine: two cores."],
        "picture": "comparison.png",
        "detections": {row: f"cells/{number}.json" for number, row in enumerate(ROWS)},
        "videos": str(films),
        "annotations": str(truth),
    }
    (out / "comparison.json").write_text(json.dumps(record), encoding="utf-8")
    return out


def test_the_page_shows_the_table_and_what_each_row_finds(folder, tmp_path):
    page = write_report(read_comparison(folder), tmp_path / "report", ReportConfig())
    text = page.read_text(encoding="utf-8")
    for part in ("Nothing differs.", "40.0 ± 1.0", "failed: TSP-seed0: no segments", "Machine: two cores."):
        assert part in text
    assert EVIL not in text and (page.parent / "pictures" / "comparison.png").is_file()
    assert page_data(page)["ways"] == list(ROWS)


@pytest.mark.parametrize("entry", ["picture", "detections"])
def test_a_record_that_names_files_elsewhere_is_refused(folder, entry):
    file = folder / "comparison.json"
    record = json.loads(file.read_text())
    record[entry] = "../other.png" if entry == "picture" else {"a": "../../etc/passwd"}
    file.write_text(json.dumps(record))
    with pytest.raises(PipelineError, match="not in its folder"):
        read_comparison(folder)


def test_a_damaged_record_is_refused_in_words(folder):
    (folder / "comparison.json").write_text('{"verdict": "x"}')
    with pytest.raises(PipelineError, match="is not what `compare` writes"):
        read_comparison(folder)

"""A comparison from videos to the table: rows, costs, a row that fails, and that nothing is made twice."""

import csv
import json

import pytest

from pipeline.cli import main
from pipeline.comparison.compare import in_process
from pipeline.comparison.costs import snippet_operations
from pipeline.errors import PipelineError
from pipeline.store.feature_store import FeatureStore

SMALL = """
seeds = [3]
rows = ["sola", "mean3", "longer", "pal"]
[stitch]
synthetic = true
videos = 3
seconds = 8.0
height = 64
width = 64
[start]
size = 32
epochs = 1
batch_size = 4
device = "cpu"
[pretrain]
epochs = 1
batch_size = 4
device = "cpu"
[longer]
equal_to = "tac"
[extract]
stride_frames = 16
workers = 1
device = "cpu"
[sola]
steps = 2
hidden = 4
predictor_hidden = 4
device = "cpu"
[train]
epochs = 1
min_steps_per_epoch = 2
device = "cpu"
[train.head]
embed_dim = 8
levels = 2
"""


def call(words: list[str]) -> int:
    with pytest.raises(SystemExit) as ended:
        main(words)
    return int(ended.value.code or 0)


@pytest.mark.slow
def test_rows_are_made_once_and_a_row_that_fails_stops_no_other(tmp_path, capsys):
    file, out = tmp_path / "plan.toml", tmp_path / "out"
    file.write_text(SMALL)
    assert call(["compare", str(file), "--out", str(out)]) == 1
    told = capsys.readouterr()
    # Three videos are too few to paste into each other, and longer pretraining is as long as a row that is not there.
    assert "failed: after PAL, seed 3" in told.err
    assert "longer pretraining takes as many operations as tac, which is not finished" in told.err
    record = json.loads((out / "comparison.json").read_text())
    assert [row[0] for row in record["rows"]] == ["standard (frozen)", "filter mean3", "SoLa, own settings"]
    assert len(record["failures"]) == 2 and "one seed" in record["verdict"]
    text = (out / "comparison.md").read_text()
    assert "| standard (frozen) | 1 | none |" in text and record["verdict"] in text
    assert all((out / name).is_file() for name in record["detections"].values())
    with (out / "results.csv").open(newline="") as lines:
        rows = {row["variant"]: row for row in csv.DictReader(lines)}
    store = FeatureStore.open(out / "start" / "features")
    snippets = sum(store.require_sidecar(video)["shape"][0] for video in store.ids())
    once = snippet_operations("tsn_r18", str(out / "start" / "encoder.safetensors"))
    frozen, sola = (rows[title] for title in ("standard (frozen)", "SoLa, own settings"))
    assert float(frozen["extraction_flop"]) == pytest.approx(snippets * once)
    assert float(sola["extraction_flop"]) == float(frozen["extraction_flop"])
    assert float(sola["training_flop"]) > float(frozen["training_flop"]) > 0
    assert float(sola["parameters"]) > float(frozen["parameters"]) > 0
    made = {path: path.stat().st_mtime_ns for path in out.glob("*/**/*.safetensors")}
    file.write_text(SMALL.replace('"longer", "pal"', '"filters"'))
    assert call(["compare", str(file), "--out", str(out)]) == 0
    assert len(json.loads((out / "comparison.json").read_text())["rows"]) == 6
    assert {path: path.stat().st_mtime_ns for path in made} == made


def end() -> None:
    import os

    os._exit(1)


def test_a_process_that_is_killed_is_a_failure_in_words():
    with pytest.raises(PipelineError, match="the process was killed, perhaps out of memory"):
        in_process(end)
    assert in_process(max, 2, 3) == 3

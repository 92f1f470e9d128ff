"""The row of turned channels: it changes no cosine and, for every head, no score beyond its deviation."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline.ablation.ablate import ablate
from pipeline.ablation.cell import CellResult
from pipeline.ablation.config import AblateConfig
from pipeline.ablation.plan import Cell
from pipeline.ablation.rotation import rotation_notes
from pipeline.cli import main
from pipeline.errors import PipelineError
from pipeline.stages.rotated_store import rotated_store
from pipeline.store.feature_store import FeatureStore
from tests.pipeline.ablation.plans import SMALL, plan, write
from tests.stores import annotate, make_store

HEADS = """
seeds = [0, 1, 2]
[[variants]]
name = "without"
use_sola = false
[[variants]]
name = "rotated"
rotate = true
[grid]
train.head.kind = ["actionness", "gtad", "anchor_free"]
[train]
epochs = 2
min_steps_per_epoch = 25
warmup_epochs = 1
learning_rate = 3e-3
ema_decay = 0.9
validate_every_epochs = 2
device = "cpu"
[train.head]
embed_dim = 16
levels = 3
stem_blocks = 1
tower_layers = 1
max_seq_len = 64
gtad_max_duration_snippets = 24
gtad_samples = 4
gtad_groups = 4
"""


def unequal_channels(folder: Path, *, strength: float, videos: int = 10) -> AblateConfig:
    """Return features whose first three channels, of noise, are `strength` times as strong as the others.

    Four of the others tell actions from the rest.
    """
    random = np.random.default_rng(1)
    arrays, truth = {}, {}
    for number in range(videos):
        rows = random.normal(0, 1, (60, 12)).astype(np.float32)
        start = 8 + 3 * number
        rows[start : start + 16, 6:10] += 3
        rows[:, :3] *= strength
        arrays[f"v{number}"] = rows
        subset = "validation" if number >= videos - 3 else "training"
        truth[f"v{number}"] = (subset, 30.0, [((start + 0.4) / 2, (start + 16.4) / 2, "x")])
    make_store(folder / "store", arrays)
    return AblateConfig(store=(folder / "store",), annotations=annotate(folder / "a.json", truth), jobs=1)


def test_turned_rows_keep_lengths_and_cosines_and_are_not_turned_twice(tmp_path):
    random = np.random.default_rng(0)
    source = make_store(tmp_path / "plain", {"a": random.normal(0, 1, (7, 5)).astype(np.float32)})
    turned = rotated_store(source, tmp_path / "turned")
    before, after = source.read("a").features.astype(float), turned.read("a").features.astype(float)
    np.testing.assert_allclose(after @ after.T, before @ before.T, atol=1e-5)
    assert abs(after - before).max() > 0.5
    assert turned.spec.differences(source.spec) == ["encoder.name: 'made, channels turned' here, 'made' there"]
    written = turned.array_path("a").stat().st_mtime_ns
    assert rotated_store(source, tmp_path / "turned").array_path("a").stat().st_mtime_ns == written


def test_streams_are_turned_by_themselves(tmp_path):
    rows = np.random.default_rng(0).normal(0, 1, (6, 5)).astype(np.float32)
    make_store(tmp_path / "one", {"a": rows})
    spec = FeatureStore.open(tmp_path / "one").spec
    streams = [{"name": "rgb", "channels": [0, 2]}, {"name": "flow", "channels": [2, 5]}]
    both = FeatureStore.create(tmp_path / "both", replace(spec, encoder={"name": "made", "streams": streams}))
    with both.writer("a") as writer:
        writer.append(rows)
        writer.commit({"duration_seconds": 3.0, "duration_exact": "3", "source": {"name": "a"}})
    turned = rotated_store(both, tmp_path / "turned").read("a").features
    for columns in (slice(0, 2), slice(2, 5)):
        lengths = np.linalg.norm(rows[:, columns], axis=1)
        np.testing.assert_allclose(np.linalg.norm(turned[:, columns], axis=1), lengths, atol=1e-5)


def test_a_rotation_is_a_row_without_sola(tmp_path):
    (cell,) = plan(tmp_path, 'seeds = [0]\n[[variants]]\nname = "turned"\nrotate = true\n')
    assert cell.config.rotate and not cell.config.use_sola
    with pytest.raises(PipelineError, match="rotate is a row of its own"):
        plan(tmp_path, 'seeds = [0]\n[[variants]]\nname = "t"\nrotate = true\nfilter = "mean3"\n')


def results_of(cells: list[Cell], accuracies: dict[str, list[float]]) -> list[CellResult]:
    """Return results with the accuracies of each variant, one for each seed; mAP at one threshold moves by half."""
    return [
        CellResult(cell, {"accuracy": accuracies[name][cell.seed], "map_at_0.5": 0.25 if name == "rotated" else 0.75})
        for cell in cells
        if (name := cell.options.get("variant")) in accuracies
    ]


def test_a_row_that_moves_by_more_than_its_deviation_is_told(tmp_path):
    cells = plan(tmp_path, "seeds = [0, 1]\nbaselines = true\n")
    still = results_of(cells, {"without SoLa": [0.80, 0.82], "rotated": [0.82, 0.84]})
    assert rotation_notes(still) == []  # 2 points of twice one point of deviation, and 0.2
    moved = results_of(cells, {"without SoLa": [0.80, 0.82], "rotated": [0.84, 0.86], "mean3": [0.1, 0.2]})
    (line,) = rotation_notes(moved)
    assert line.startswith("rotated: a random rotation of the channels") and "accuracy +4.0 points" in line
    assert rotation_notes(moved[:1] + moved[2:]) == []  # of one seed alone nothing is known


def test_the_warning_stands_above_the_table(tmp_path, given, capsys, monkeypatch):
    text = 'seeds = [0, 1]\n[[variants]]\nname = "w"\nuse_sola = false\n[[variants]]\nname = "r"\nrotate = true\n'
    file = write(tmp_path / "plan.toml", text + SMALL)
    monkeypatch.setattr("pipeline.ablation.rotation.moved_scores", lambda before, after: ["accuracy +9.0"])
    words = ["--store", given.store[0], "--annotations", given.annotations, "--no-head", "--jobs", "1"]
    with pytest.raises(SystemExit) as info:
        main(["ablate", str(file), "--out", str(tmp_path / "out"), *map(str, words)])
    assert info.value.code == 0
    shown = capsys.readouterr()
    assert "r: a random rotation" in shown.err + shown.out
    assert "a random rotation" in (tmp_path / "out" / "notes.txt").read_text()
    assert not list((tmp_path / "out" / "cells").glob("*/rotated"))


def rows_of(tmp_path: Path, settings: AblateConfig, text: str) -> tuple[list[float], list[str]]:
    """Return the mAP of each cell, and the warnings."""
    results = ablate(write(tmp_path / "plan.toml", text), tmp_path / "out", settings, say=lambda _: None)
    assert [result.failure for result in results] == [""] * len(results)
    return [result.scores["map_thumos"] for result in results], rotation_notes(results)


ONE_HEAD = HEADS.replace('"actionness", "gtad", "anchor_free"', '"actionness"')


@pytest.mark.parametrize("text", [ONE_HEAD, pytest.param(HEADS, marks=pytest.mark.slow)], ids=["one", "every"])
def test_heads_find_the_same_in_turned_features(tmp_path, text):
    found, notes = rows_of(tmp_path, unequal_channels(tmp_path, strength=2.0), text)
    assert min(found) > 0.2  # what finds nothing cannot move
    assert notes == []


def test_dividing_each_channel_by_its_own_deviation_is_found_out(tmp_path):
    """The trap that the row is for: whitening raises the weak channels that say where the action is."""
    text = ONE_HEAD.replace("[train]\n", '[train]\nstandardize = "channel"\n')
    _, (line,) = rows_of(tmp_path, unequal_channels(tmp_path, strength=100.0), text)
    assert line.startswith("rotated") and "map" in line

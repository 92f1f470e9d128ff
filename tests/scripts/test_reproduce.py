"""The experiment of the paper: each publisher's format goes in, the table of all rows comes out."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pipeline.ablation.config import AblateConfig
from pipeline.ablation.plan import read_plan
from pipeline.store.feature_store import FeatureStore
from tests import ROOT

FOLDER = ROOT / "scripts" / "experiments" / "reproduce"
LABELS = ("jump", "throw", "walk")


@pytest.fixture
def helpers(monkeypatch):
    """Make the script's own modules importable."""
    monkeypatch.syspath_prepend(str(FOLDER))


def features_of(video: int, *, rows: int, channels: int) -> tuple[np.ndarray, tuple[float, float]]:
    """Return the features of a video, and the rows of its action, where some channels are larger."""
    values = np.random.default_rng(video).normal(0, 1, (rows, channels)).astype(np.float32)
    start = 4 + 3 * (video % 4)
    values[start : start + rows // 3, : channels // 2] += 2
    return values, (start, start + rows // 3)


def publish(folder: Path, name: str) -> list[str]:
    """Write features and annotations as their authors publish them, and return the words of the command line."""
    features, flow = folder / "features", folder / "flow"
    database, scores = {}, {}
    train, test, rows, channels, seconds_of_row = {
        "activitynet13_tsn": ("training", "validation", 100, 16, 0.6),
        "activitynet13_tsp": ("training", "validation", 40, 16, 16 / 15),
        "thumos14_i3d": ("Validation", "Test", 50, 2048, 4 / 30),
        "hacs_i3d": ("training", "validation", 40, 16, 0.5),
    }[name]
    for video in range(6):
        values, (start, end) = features_of(video, rows=rows, channels=channels)
        subset, video_id = (test if video > 3 else train), f"video{video:06d}"
        duration = rows * seconds_of_row + (12 / 30 if name == "thumos14_i3d" else 0)
        segment = [start * seconds_of_row, end * seconds_of_row]
        label = LABELS[video % 2] if video != 3 else LABELS[2]
        annotations = [{"segment": segment, "label": label}]
        database[video_id] = {"subset": subset, "duration": duration, "annotations": annotations}
        if name == "hacs_i3d":
            database[video_id]["duration"] = str(duration)  # as HACS writes it
        if name == "thumos14_i3d":
            database[video_id]["fps"] = 30.0
        scores[video_id] = {LABELS[0]: 0.6, LABELS[1]: 0.3, LABELS[2]: 0.1}
        for place in (features, flow):
            write_features(place, name, video_id, subset, values)
    (folder / "annotations.json").write_text(json.dumps({"version": "1", "database": database}))
    (folder / "scores.json").write_text(json.dumps(scores))
    words = [name, "--features", features, "--annotations", folder / "annotations.json", "--out", folder / "out"]
    words += ["--flow", flow] if name == "hacs_i3d" else []
    words += ["--class-scores", folder / "scores.json"] if name != "thumos14_i3d" else []
    return list(map(str, words))


def write_features(place: Path, name: str, video_id: str, subset: str, values: np.ndarray) -> None:
    if name == "hacs_i3d":
        place = place / subset
    place.mkdir(parents=True, exist_ok=True)
    if name == "activitynet13_tsn":
        header = ",".join(f"f{column}" for column in range(values.shape[1]))
        np.savetxt(place / f"v_{video_id}.csv", values, delimiter=",", header=header, comments="", fmt="%.5f")
    else:
        np.save(place / f"{'v_' if name == 'activitynet13_tsp' else ''}{video_id}.npy", values)


def reproduce(words: list[str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(FOLDER / "reproduce"), *words]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("name", "stores"),
    [
        ("activitynet13_tsn", {"features": (16, ())}),
        pytest.param("activitynet13_tsp", {"features": (16, ())}, marks=pytest.mark.slow),
        pytest.param("hacs_i3d", {"rgb": (16, ()), "rgb_flow": (32, (16, 16))}, marks=pytest.mark.slow),
        pytest.param("thumos14_i3d", {"rgb": (1024, ()), "rgb_flow": (2048, (1024, 1024))}, marks=pytest.mark.slow),
    ],
)
def test_published_features_go_in_and_the_table_comes_out(tmp_path, name, stores):
    words = [*publish(tmp_path, name), "--quick", "--heads", "actionness", "--jobs", "1"]
    done = reproduce(words)
    assert done.returncode == 0, done.stderr
    for store, (channels, streams) in stores.items():
        opened = FeatureStore.open(tmp_path / "out" / "features" / store)
        assert (opened.spec.channels, opened.spec.stream_channels) == (channels, streams)
        assert len(opened.ids()) == 5  # not the video of the third class
    assert "another number of rows" not in done.stdout  # rows, windows and durations fit each other
    table = [line for line in (tmp_path / "out" / "results.md").read_text().splitlines() if line.startswith("|")]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table[2:]]
    names = ["standard", "SoLa", "mean3", "mean5", "bilateral", "linear", "rotated"]
    assert [row[:3] for row in rows] == [[store, "actionness", row] for store in stores for row in names]
    assert all(row[7].endswith("± 0.0") for row in rows)
    assert rows[0][8] == "" and rows[1][8][0] in "+-"
    again = reproduce(words)
    assert again.returncode == 0 and again.stdout.count("imported before") == len(stores)


def test_the_plan_is_the_papers(helpers, tmp_path):
    from experiment import experiment, read_source, write_plan

    scores = tmp_path / "scores.json"
    plan = experiment(read_source("activitynet13_tsn"), heads=[], seeds=None, quick=False, video_scores=scores)
    write_plan(tmp_path / "plan.toml", plan)
    cells = read_plan(tmp_path / "plan.toml", AblateConfig(store=(Path("s"),), annotations=Path("a.json")))
    assert len(cells) == (13 + 7 + 7) * 5
    assert {cell.seed for cell in cells} == set(range(5))
    fitted = {cell.config.sola for cell in cells if cell.config.use_sola}
    assert {(s.steps, s.hidden, s.predictor_hidden, s.learning_rate, s.padding, s.adapt) for s in fitted} == {
        (22000, 512, 512, 1e-4, "zeros", False)
    }
    assert {cell.config.video_scores for cell in cells} == {scores.resolve()}
    from dataclasses import replace

    from pipeline.heads.presets import preset

    for cell in cells[::5]:  # the settings of a head are those of its preset, but for what the row changes
        published = preset("activitynet13", kind=cell.config.train.head.kind)
        mine = replace(cell.config.train, sola="frozen", module=published.module, seed=0)
        assert mine == published
    unified = [cell for cell in cells if cell.config.train.trains_module]
    assert {cell.config.train.module.hidden for cell in unified} == {512}
    assert {cell.config.train.module.padding for cell in unified} == {"zeros"}


def test_without_class_scores_heads_learn_the_classes(helpers):
    from experiment import experiment, read_source

    plan = experiment(read_source("thumos14_i3d"), heads=["gtad"], seeds=2, quick=False, video_scores=None)
    assert {variant["train"]["class_agnostic"] for variant in plan["variants"]} == {False}
    assert plan["seeds"] == [0, 1] and plan["evaluate"]["subset"] == "test" and "video_scores" not in plan
    assert plan["linear_probe"] == {"train_subset": "validation", "test_subset": "test"}


def test_numbers_of_steps_and_parts_are_those_of_the_plan(helpers, tmp_path, monkeypatch, capsys):
    import forecast
    from experiment import experiment, read_source, write_plan

    source = read_source("hacs_i3d")
    write_plan(tmp_path / "p.toml", experiment(source, heads=["gtad"], seeds=2, quick=False, video_scores=None))
    cells = read_plan(tmp_path / "p.toml", AblateConfig(store=(Path("s"),), annotations=Path("a.json")))
    monkeypatch.setattr(forecast, "_made", lambda *a: (None, None))
    monkeypatch.setattr(forecast, "_fit_step", lambda *a: 0.5)
    monkeypatch.setattr(forecast, "_head", lambda *a: (0.25, 0.0))
    monkeypatch.setattr(forecast, "_seconds", lambda work: 0.0)
    forecast.print_forecast(source, cells, flow=False)
    shown = capsys.readouterr().out
    parts = forecast._parts(tmp_path, source["size"], 2048, cells)
    assert parts[0] == ("fit of SoLa, kernels 5,1,1", 2, 11000.0)  # both of two seeds
    # 10 epochs of 37,613 videos in batches of 16; 13 rows.
    assert parts[5] == ("gtad: 23,510 steps, then all videos", 26, 5877.5)
    assert "in all" in shown and "GB of features" in shown


def test_a_source_without_features_is_refused(tmp_path):
    done = reproduce(["hacs_i3d", "--out", str(tmp_path / "out")])
    assert done.returncode == 2 and "give --features and --annotations, or --dry-run" in done.stderr
    (tmp_path / "a.json").write_text('{"database": {}}')
    words = ["--features", str(tmp_path / "none"), "--annotations", str(tmp_path / "a.json")]
    done = reproduce(["hacs_i3d", *words, "--out", str(tmp_path / "out")])
    assert done.returncode == 2 and done.stderr.startswith("error: ")

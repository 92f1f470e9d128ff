"""The experiment from videos to tables: its counts and errors, that it runs to the end, and not twice."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pipeline.ablation.config import AblateConfig
from pipeline.ablation.plan import read_plan
from pipeline.commandline.launch import bound_command
from pipeline.config import RunConfig
from tests import ROOT
from tests.stores import make_store

EXPERIMENTS = ROOT / "scripts" / "experiments"
SHIPPED = EXPERIMENTS / "evidence"
SETTINGS = """
[stitch]
synthetic = true
videos = 3
seconds = 10.0
height = 64
width = 64
[pretrain]
size = 32
epochs = 1
device = "cpu"
[extract]
encoder = "tsn_r18"
workers = 1
device = "cpu"
[sola]
steps = 2
hidden = 4
predictor_hidden = 4
[train]
epochs = 1
min_steps_per_epoch = 1
[train.head]
embed_dim = 8
levels = 2
"""
ABLATION = """
seeds = [0]
[[variants]]
name = "without"
use_sola = false
[[variants]]
name = "SoLa"
[sola]
steps = 2
hidden = 4
predictor_hidden = 4
"""


@pytest.fixture
def helpers(monkeypatch):
    """Make the scripts' own modules importable."""
    monkeypatch.syspath_prepend(str(EXPERIMENTS))


def gather(*words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(EXPERIMENTS / "gather_evidence"), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("name", ["linear", "heads"])
def test_the_ablations_of_the_experiments_share_their_sola(name):
    cells = read_plan(SHIPPED / f"{name}.toml", AblateConfig(store=(Path("s"),), annotations=Path("a.json")))
    assert {cell.seed for cell in cells} == {0, 1, 2}
    assert len(cells) == 3 * 3 * (4 if name == "linear" else 3)
    other = read_plan(SHIPPED / "heads.toml", AblateConfig(store=(Path("s"),), annotations=Path("a.json")))
    assert {cell.config.sola for cell in cells} == {cell.config.sola for cell in other}


@pytest.mark.parametrize("name", ["synthetic", "stitched_ucf101", "fall_topdown"])
def test_the_settings_of_the_experiments_are_those_of_the_commands(name):
    file = str(SHIPPED / f"{name}.toml")
    commands = ["pretrain clips --out w.safetensors --config", "run", "extract videos --out features --config"]
    if name != "fall_topdown":
        commands.append("stitch --out videos --config")
    for command in commands:
        words = [*command.split(), file, *(["--videos", "v", "--out", "o"] if command == "run" else [])]
        _, bound = bound_command(words)
        if command == "run":
            settings: RunConfig = bound.arguments["settings"]
            cells = read_plan(SHIPPED / "heads.toml", AblateConfig(store=(Path("s"),), annotations=Path("a.json")))
            assert settings.sola in {cell.config.sola for cell in cells}  # one of the settings that are compared
            assert settings.extract.encoder == "tsn_r18"


def test_operations_are_those_of_the_formulas(helpers, tmp_path):
    import torch
    from evidence_costs import _encoder, _head, _sola, operations

    from encoders.catalog import catalog_entry
    from pipeline.heads.config import HeadConfig, TrainConfig
    from sola.config import SolaConfig

    left, right = torch.zeros(3, 5), torch.zeros(5, 7)
    assert operations(lambda: left @ right) == 2 * 3 * 5 * 7
    # C = 6, hidden 4, kernels 5, 1, 1: each output is a sum of products, two operations each; zeros outside count too.
    store = make_store(tmp_path / "store", {"a": np.ones((40, 6), np.float32), "b": np.ones((40, 6), np.float32)})
    config = SolaConfig(hidden=4, predictor_hidden=3, steps=10, device="cpu", padding="zeros")
    cost = _sola(config, store, 40)
    assert cost.per_snippet == 2 * (6 * 4 * 5 + 4 * 4 + 4 * 6)
    module = 6 * 4 * 5 + 4 + 4 * 4 + 4 + 4 * 6 + 6 + 1
    assert cost.parameters == module + (6 * 3 + 3 + 3 * 6 + 6)
    double = _sola(SolaConfig(hidden=4, predictor_hidden=3, steps=20, device="cpu"), store, 40)
    assert double.training == 2 * cost.training > 0
    # A linear head: T x C by C x K.
    train = TrainConfig(
        epochs=2, min_steps_per_epoch=6, batch_size=4, head=HeadConfig(kind="actionness", tower_layers=0)
    )
    head = _head(train, 6, 3, 40, 8)
    assert head.training == 3 * head.per_snippet * 2 * 6 * 4 * 40
    assert head.per_snippet == 2 * 6 * 3
    # torchvision states 1.814 GFLOP (multiply-adds) for ResNet-18 at 224 px, of which the classifier is 0.0005.
    spec = catalog_entry("tsn_r18").spec
    record = {"clips": [10, 3], "settings": {"epochs": 2}}
    encoder = _encoder(spec, record)
    assert encoder.per_snippet == pytest.approx(2 * spec.num_frames * 1.8135e9, rel=1e-3)
    assert encoder.training == 3 * encoder.per_snippet * 20


def test_tables_hold_what_the_summaries_hold(helpers):
    from evidence_tables import head_rows, linear_rows, majority, markdown

    linear = [
        {"variant": v, "linear_probe.normalize": c, "seeds": "3", "accuracy_mean": "0.5", "accuracy_deviation": "0.012",
         "gain_mean": "" if v == "without" else "0.25", "gain_deviation": "0", "majority_mean": "0.61"}
        for v in ("without", "SoLa") for c in ("none", "center")
    ]  # fmt: skip
    rows = list(linear_rows(linear))
    assert rows[0] == ["normalize", "SoLa", "seeds", "accuracy", "gain (0 to 1)"]
    assert rows[1:3] == [["none", "without", "3", "50.0 ± 1.2", ""], ["none", "SoLa", "3", "50.0 ± 1.2", "0.25 ± 0.00"]]
    assert "accuracy 61.0" in majority(linear)
    heads = [
        {"variant": v, "train.head.kind": k, "seeds": "3"} | {f"{m}_{w}": "0.2" for m in ("map_at_0.5", "map_own")
                                                             for w in ("mean", "deviation")}
        for v in ("without", "SoLa") for k in ("gtad", "anchor_free")
    ]  # fmt: skip
    rows = list(head_rows(heads))
    assert rows[0] == ["head", "SoLa", "seeds", "tIoU 0.5", "mean"]
    assert [row[:2] for row in rows[1:]] == [
        ["gtad", "without"], ["gtad", "SoLa"], ["anchor_free", "without"], ["anchor_free", "SoLa"]
    ]  # fmt: skip
    assert markdown([["a", "b"], ["1", "2"]]) == "| a | b |\n| --- | --- |\n| 1 | 2 |"


@pytest.mark.parametrize(
    ("settings", "words", "message"),
    [
        ("[extract]\n", [], "needs --videos and --annotations"),
        ("[stitch]\n", [], "needs --clips alone"),
        ("[stitch]\nsynthetic = true\n", ["--clips", "c"], "needs neither clips nor videos"),
        ("[stitch]\nseed = 1\n", ["--clips", "c"], "seed must be the same in [stitch] and [pretrain], got 1, 0"),
    ],
)
def test_inputs_that_do_not_suit_the_settings_are_refused(tmp_path, settings, words, message):
    (tmp_path / "s.toml").write_text(settings)
    done = gather(tmp_path / "s.toml", "--out", tmp_path / "out", *words)
    assert done.returncode != 0
    assert message in done.stderr


def test_a_stage_is_done_again_when_something_before_it_has_changed(tmp_path, monkeypatch):
    from importlib.machinery import SourceFileLoader
    from importlib.util import module_from_spec, spec_from_loader

    spec = spec_from_loader(
        "gather_evidence", SourceFileLoader("gather_evidence", str(EXPERIMENTS / "gather_evidence"))
    )
    module = module_from_spec(spec)
    sys.modules["gather_evidence"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    ran: list[str] = []
    result = tmp_path / "result"
    settings = tmp_path / "s.toml"

    def run(tokens):
        ran.append(tokens[0])
        result.write_text("")
        return codes.pop(0) if codes else 0, 7

    def go() -> list[str]:
        ran.clear()
        stages = module.Stages(tmp_path / "stages.json")
        stages.do("one", ["one", settings], result=result)
        stages.do("two", ["two"], result=result)
        return list(ran)

    monkeypatch.setattr(module, "run_command", run)
    codes: list[int] = []
    settings.write_text("a = 1")
    assert go() == ["one", "two"]
    assert go() == []
    settings.write_text("a = 2")
    codes = [0, 130]
    with pytest.raises(SystemExit) as info:
        go()
    assert info.value.code == 130
    first = json.loads((tmp_path / "stages.json").read_text())["two"]
    assert not first["done"]
    assert go() == ["two"]
    second = json.loads((tmp_path / "stages.json").read_text())["two"]
    assert second["done"] and second["seconds"] > first["seconds"] and second["peak_megabytes"] == 7
    result.unlink()
    assert go() == ["one"]  # whose result was there again when the second was asked for


@pytest.mark.slow
def test_an_experiment_runs_through_and_a_second_call_does_nothing(tmp_path):
    (tmp_path / "s.toml").write_text(SETTINGS)
    (tmp_path / "linear.toml").write_text(ABLATION + '[grid]\nlinear_probe.normalize = ["none", "center"]\n')
    small = "[train]\nepochs = 1\nmin_steps_per_epoch = 1\n[train.head]\nwidth = 8\nlevels = 2\n"
    kinds = '[grid]\ntrain.head.kind = ["actionness", "anchor_free"]\n[evaluate]\ntious = [0.5]\n'
    (tmp_path / "heads.toml").write_text(ABLATION + kinds + small)
    words = [tmp_path / "s.toml", "--out", tmp_path / "out", "--ablations", tmp_path, "--jobs", "1"]
    done = gather(*words)
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "out" / "evidence.md").read_text()
    assert text.count("| none | without | 1 |") == text.count("| anchor_free | SoLa | 1 |") == 1
    assert "encoder (tsn_r18, 32 px)" in text
    assert (tmp_path / "out" / "run" / "report" / "index.html").is_file()
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*") if path.is_file()}
    again = gather(*words)
    assert again.returncode == 0
    assert again.stdout.count("unchanged, skipped") == 6
    after = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert after == before

"""Ablations: the cells of a file, that each cell equals a `run`, and that nothing runs twice."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.ablation.ablate import ablate
from pipeline.ablation.cell import CellResult
from pipeline.ablation.config import AblateConfig
from pipeline.ablation.plan import Cell, read_plan
from pipeline.ablation.results import draw_results, settings_of, table_of, write_results
from pipeline.cli import main
from pipeline.config import CellConfig, ProbeConfig
from pipeline.errors import PipelineError
from pipeline.heads.config import HeadConfig, TrainConfig
from pipeline.stages.enhance import enhance_store
from pipeline.stages.linear_probe import probe
from pipeline.storage.read_files import sha256_of_file
from pipeline.store.feature_store import FeatureStore
from sola.config import SolaConfig
from tests import ROOT
from tests.pipeline.ablation.plans import SMALL, plan, write

SHIPPED = ROOT / "scripts" / "experiments" / "ablations"
TWO_VARIANTS = """
seeds = [0, 1]
[[variants]]
name = "without"
use_sola = false
[[variants]]
name = "SoLa"
[grid]
sola.kernel_sizes = [[1, 1, 1], [3, 1, 1]]
"""


def test_cells_are_every_variant_with_every_choice_and_seed(tmp_path):
    text = 'seeds = [3, 4]\n[[variants]]\nname = "p"\nsola.k = 4.0\n[[variants]]\nname = "q"\n'
    cells = plan(tmp_path, text + '[grid]\nsola.hidden = [8, 16]\ntrain.head.kind = ["gtad", "anchor_free"]\n')
    assert len(cells) == len({cell.name for cell in cells}) == 2 * 2 * 2 * 2
    first, last = cells[0], cells[-1]
    assert first.label == "p, sola.hidden=8, train.head.kind=gtad"
    assert (first.config.sola.target_sharpness, first.config.sola.hidden, first.config.train.head.kind) == (
        4.0,
        8,
        "gtad",
    )
    assert (first.seed, first.config.sola.seed, first.config.train.seed) == (3, 3, 3)
    assert (last.config.sola.target_sharpness, last.config.sola.hidden, last.seed) == (16.0, 16, 4)


def test_without_sola_its_options_make_no_cells(tmp_path):
    assert [(cell.label, cell.seed) for cell in plan(tmp_path, TWO_VARIANTS)] == [
        ("without", 0), ("without", 1),
        ("SoLa, sola.kernel_sizes=1,1,1", 0), ("SoLa, sola.kernel_sizes=1,1,1", 1),
        ("SoLa, sola.kernel_sizes=3,1,1", 0), ("SoLa, sola.kernel_sizes=3,1,1", 1),
    ]  # fmt: skip


def test_the_linear_evaluation_can_be_set_and_varied_too(tmp_path):
    text = 'seeds = [5]\n[linear_probe]\ndistances = [1, 3]\n[grid]\nprobe.comparison = ["raw", "centred"]\n'
    cells = plan(tmp_path, text)
    assert [cell.config.linear_probe for cell in cells] == [
        ProbeConfig(seeds=(5,), distances=(1, 3), normalize="none"),
        ProbeConfig(seeds=(5,), distances=(1, 3), normalize="center"),
    ]


def test_the_logistic_regression_of_a_cell_is_that_of_the_linear_evaluation(tmp_path, given):
    pytest.importorskip("sklearn")
    file = write(tmp_path / "plan.toml", "seeds = [2]\nuse_sola = false\n[linear_probe]\nlogistic = true\n" + SMALL)
    (result,) = ablate(file, tmp_path / "out", replace(given, head=False), say=lambda _: None)
    alone = probe([FeatureStore.open(given.store[0])], given.annotations, ProbeConfig(seeds=(2,), logistic=True))
    logistic = alone.stores[0].logistic
    assert result.scores["logistic_accuracy"] == logistic.accuracy.mean
    assert result.scores["logistic_accuracy_within_1"] == logistic.near[1].mean
    assert "accuracy, logistic" in table_of(settings_of([result]))[0]


def test_several_stores_are_tried_each(tmp_path):
    given = AblateConfig(store=(Path("tsn"), Path("i3d")), annotations=Path("a.json"))
    cells = plan(tmp_path, "seeds = [0]\n", given)
    assert [(cell.label, cell.store) for cell in cells] == [("store=tsn", Path("tsn")), ("store=i3d", Path("i3d"))]
    assert len({cell.name for cell in cells}) == 2


@pytest.mark.parametrize("file", sorted(SHIPPED.glob("*.toml")), ids=lambda file: file.stem)
def test_the_files_that_come_with_the_project_are_accepted(file):
    data = {"videos": (Path("v"),)} if file.stem == "encoder" else {"store": (Path("s"),)}
    cells = read_plan(file, AblateConfig(annotations=Path("a.json"), **data))
    seeds = {"heads": 3, "left_open": 3, "published_steps": 2, "two_streams": 3}  # those that take long
    assert {cell.seed for cell in cells} == set(range(seeds.get(file.stem, 5)))
    assert {cell.config.use_sola for cell in cells} == {True, False}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[grid]\nsola.kernal = [1]", "kernal"),
        ("[grid]\nsola.k = [-1.0]", "target_sharpness must be > 0, got -1"),
        ("[grid]\nsola.k = 3.0", "grid.sola.target_sharpness must be a list"),
        ("[grid]\nsola.k = []", "grid.sola.target_sharpness must be a list"),
        ("[grid]\nsola.seed = [3]", "seeds = "),
        ("[linear_probe]\nseeds = [3]", "seeds = "),
        ("[grid]\nvideos = [3]", "must be use_sola, filter, rotate or an option of a stage"),
        ('[grid]\nextract.encoder = ["i3d_r50"]', "give videos in place of a store"),
        ('[[variants]]\nname = "a"\n[[variants]]\nname = "a"', "a name of its own"),
        ('[train]\nsola = "unified"', "plan.toml: train.sola=unified trains SoLa inside the head"),
        ("seeds = [-1]", "seeds must be integers"),
        ('baselines = "all"', "baselines must be true or false, got 'all'"),
        ('[grid]\nfilter = ["median"]', "median"),
        ("sead = [1]", "unknown entries sead"),
        ('[train]\nepochs = "many"', "many"),
        ("seeds = [", "is not TOML"),
    ],
)
def test_a_file_that_cannot_be_meant_is_refused_with_the_reason(tmp_path, text, message):
    with pytest.raises(PipelineError, match=message):
        plan(tmp_path, text)


def test_data_must_be_named_somewhere(tmp_path):
    with pytest.raises(PipelineError, match="neither store nor videos"):
        plan(tmp_path, "", AblateConfig(annotations=Path("a.json")))
    with pytest.raises(PipelineError, match="names no annotations"):
        plan(tmp_path, "", AblateConfig(store=(Path("s"),)))


def test_a_cell_is_what_the_stages_give_and_is_not_done_twice(tmp_path, given, monkeypatch):
    text = 'seeds = [2]\n[[variants]]\nname = "SoLa"\n[evaluate]\ntious = [0.3, 0.55]\n'
    file = write(tmp_path / "plan.toml", text + SMALL)
    (result,) = ablate(file, tmp_path / "out", replace(given, keep_features=True), say=lambda _: None)
    config = SolaConfig(steps=3, hidden=4, predictor_hidden=4, learning_rate=0.05, device="cpu", seed=2)
    enhanced, _ = enhance_store(FeatureStore.open(given.store[0]), tmp_path / "by_hand", config)
    folder = tmp_path / "out" / "cells" / result.cell.name
    assert FeatureStore.open(folder / "enhanced").fingerprint() == enhanced.fingerprint()
    expected = probe([enhanced], given.annotations, ProbeConfig(seeds=(2,))).stores[0].scores
    assert result.scores["accuracy"] == expected.accuracy.mean
    assert result.scores["accuracy_within_1"] == expected.near[1].mean
    evaluation = json.loads((folder / "evaluation.json").read_text())
    assert result.scores["map_thumos"] == evaluation["thumos"]["average_map"]
    assert [result.scores["map_at_0.3"], result.scores["map_at_0.55"]] == evaluation["own"]["map"]
    end = json.loads((folder / "enhanced" / "sola_history.json").read_text())[-1]  # the last tenth of three
    gained = (end["constant_loss"] - end["loss"]) / (end["constant_loss"] - end["least_loss"])
    assert result.scores["gain"] == pytest.approx(gained)
    header, (row,) = table_of(settings_of([result]))
    assert [name for name in header if name.startswith("within")] == ["within 1", "within 2", "within 4", "within 8"]
    assert row[header.index("gain (0 to 1)")] == f"{gained:.2f} ± 0.00"
    assert header[-2:] == ["mAP@0.3", "mAP@0.55"]
    assert row[-1] == f"{100 * evaluation['own']['map'][1]:.1f} ± 0.0"
    model = json.loads((folder / "model" / "model.json").read_text())
    assert model["training"]["settings"]["seed"] == 2

    monkeypatch.setattr("pipeline.ablation.cell.run_on_features", None)  # to call it would be an error
    again = ablate(file, tmp_path / "out", given, say=lambda _: None)
    assert again == [result]


def test_without_a_head_there_is_the_linear_evaluation_alone(tmp_path, given):
    file = write(tmp_path / "plan.toml", "seeds = [2]\n" + SMALL)
    (whole,) = ablate(file, tmp_path / "whole", given, say=lambda _: None)
    said: list[str] = []
    (result,) = ablate(file, tmp_path / "out", replace(given, head=False), say=said.append)
    assert result.scores == {name: score for name, score in whole.scores.items() if not name.startswith("map_")}
    assert not (tmp_path / "out" / "cells" / result.cell.name / "model").exists()
    assert "accuracy" in said[-1] and "mAP" not in said[-1]
    write_results([result], tmp_path / "out")
    assert [axes.get_xlabel() for axes in draw_results(settings_of([result])).axes] == [
        "accuracy of the linear evaluation (%)", "within 1 (%)"
    ]  # fmt: skip


@pytest.mark.parametrize("way", ["unified", "auxiliary"])
def test_without_a_head_nothing_can_train_sola_inside_it(tmp_path, given, way):
    text = f'seeds = [0]\nuse_sola = false\n[train]\nsola = "{way}"\n'
    with pytest.raises(PipelineError, match=f"train.sola={way} needs a head"):
        plan(tmp_path, text, replace(given, head=False))


def test_with_a_module_trained_in_front_of_the_head_the_features_after_it_are_measured(tmp_path, given):
    text = "seeds = [0]\nuse_sola = false\n" + SMALL.replace("[train]", '[train]\nsola = "unified"')
    text += "[train.module]\nhidden = 4\ngate_learning_rate = 0.5\n"
    file = write(tmp_path / "plan.toml", text)
    (result,) = ablate(file, tmp_path / "out", replace(given, keep_features=True), say=lambda _: None)
    folder = tmp_path / "out" / "cells" / result.cell.name
    assert result.failure == ""
    after = FeatureStore.open(folder / "enhanced")
    assert after.spec.sola is not None
    assert sha256_of_file(folder / "model" / "sola.safetensors") == after.spec.sola["module_sha256"]
    expected = probe([after], given.annotations, ProbeConfig(seeds=(0,))).stores[0].scores
    assert result.scores["average_precision"] == expected.average_precision.mean


def test_other_annotations_make_a_cell_anew(tmp_path, given):
    file = write(tmp_path / "plan.toml", "seeds = [0]\nuse_sola = false\n" + SMALL)
    (before,) = ablate(file, tmp_path / "out", given, say=lambda _: None)
    text = given.annotations.read_text().replace("6.2", "1.2").replace("12.2", "3.2")
    given.annotations.write_text(text)
    (after,) = ablate(file, tmp_path / "out", given, say=lambda _: None)
    assert before.cell.name == after.cell.name
    assert before.scores["accuracy"] != after.scores["accuracy"]


def test_features_of_finished_cells_are_removed_and_modules_kept(tmp_path, given):
    file = write(tmp_path / "plan.toml", "seeds = [0]\n" + SMALL)
    (result,) = ablate(file, tmp_path / "out", given, say=lambda _: None)
    enhanced = tmp_path / "out" / "cells" / result.cell.name / "enhanced"
    assert (enhanced / "sola.safetensors").is_file()
    assert not (enhanced / "features").exists()


def test_a_cell_that_fails_costs_only_itself(tmp_path, given, capsys, monkeypatch):
    monkeypatch.setattr("signal.signal", lambda *_: None)
    # A rate at which the weights overflow at once.
    grid = "seeds = [0]\n[grid]\nsola.learning_rate = [0.05, 1e38]\n"
    file = write(tmp_path / "plan.toml", grid + SMALL)
    words = ["ablate", str(file), "--store", str(given.store[0]), "--annotations", str(given.annotations)]
    with pytest.raises(SystemExit) as info:
        main([*words, "--jobs", "1", "--out", str(tmp_path / "out")])
    assert info.value.code == 1
    printed = capsys.readouterr()
    assert "failed: sola.learning_rate=1e" in printed.err
    assert "sola.learning_rate=0.05" in printed.out
    rows = list(csv.DictReader((tmp_path / "out" / "results.csv").open()))
    assert [bool(row["failure"]) for row in rows] == [False, True]
    assert len(list(csv.DictReader((tmp_path / "out" / "summary.csv").open()))) == 1
    for suffix in ("png", "svg"):
        assert (tmp_path / "out" / f"results.{suffix}").is_file()


def results_by_hand() -> list[CellResult]:
    cells = {}
    for name in ("p", "q"):
        for seed, (accuracy, mean_ap) in enumerate([(0.5, 0.1), (0.7, 0.3)]):
            config = CellConfig(videos=[], out=Path("-"), train=TrainConfig(head=HeadConfig()))
            cell = plan_cell(name, seed, config)
            scores = {"accuracy": accuracy, "map_activitynet": mean_ap}
            cells[name, seed] = CellResult(cell, scores if name == "p" else {}, "" if name == "p" else "broken")
    return list(cells.values())


def plan_cell(name: str, seed: int, config: CellConfig):
    return Cell(name=f"{name}{seed}", options={"variant": name}, seed=seed, store=Path("s"), config=config)


def test_summary_holds_mean_and_deviation_over_the_seeds(tmp_path):
    results = results_by_hand()
    write_results(results, tmp_path)
    (row,) = csv.DictReader((tmp_path / "summary.csv").open())
    assert (row["variant"], row["seeds"]) == ("p", "2")
    assert float(row["accuracy_mean"]) == pytest.approx(0.6)
    assert float(row["accuracy_deviation"]) == pytest.approx(0.1)
    assert float(row["map_activitynet_mean"]) == pytest.approx(0.2)
    figure = draw_results(settings_of(results))
    means = [axes.containers[0].lines[0].get_xdata()[0] for axes in figure.axes]
    assert means == pytest.approx([60, 20])


@pytest.mark.slow
def test_cells_side_by_side_give_what_they_give_one_after_the_other(tmp_path, given):
    file = write(tmp_path / "plan.toml", TWO_VARIANTS + "train.epochs = [1, 2]\n" + SMALL)
    one = ablate(file, tmp_path / "one", given, say=lambda _: None)
    two = ablate(file, tmp_path / "two", replace(given, jobs=2), say=lambda _: None)
    assert [result.failure for result in one] == [""] * 12
    for first, second in zip(one, two, strict=True):
        assert first.cell == second.cell
        assert first.scores == pytest.approx(second.scores)

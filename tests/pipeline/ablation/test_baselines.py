"""The cells of an ablation that need no fit."""

from dataclasses import replace

import numpy as np

from pipeline.ablation.ablate import ablate
from pipeline.config import ProbeConfig
from pipeline.stages.filter_store import filter_store
from pipeline.stages.linear_probe import probe
from pipeline.store.feature_store import FeatureStore
from tests.pipeline.ablation.plans import SMALL, plan, write

BASELINES = ["without SoLa", "mean3", "mean5", "bilateral", "linear", "rotated"]


def test_baselines_are_cells_without_sola_and_none_is_there_twice(tmp_path):
    text = 'seeds = [0]\nbaselines = true\n[grid]\nsola.hidden = [4, 8]\nlinear_probe.normalize = ["none", "center"]\n'
    cells = plan(tmp_path, text)
    of_baselines = cells[: 2 * len(BASELINES)]
    assert [cell.options["variant"] for cell in of_baselines] == [name for name in BASELINES for _ in range(2)]
    assert not any(cell.config.use_sola for cell in of_baselines)
    assert [cell.config.filter for cell in of_baselines[::2]] == [None, "mean3", "mean5", "bilateral", "linear", None]
    assert [cell.config.rotate for cell in of_baselines[::2]] == [False] * 5 + [True]
    assert cells[2 * len(BASELINES)].label == "sola.hidden=4, linear_probe.normalize=none"
    assert len({cell.name for cell in cells}) == 2 * len(BASELINES) + 4
    named = '[[variants]]\nname = "mine"\nuse_sola = false\n[[variants]]\nname = "m"\nfilter = "mean3"\n'
    labels = [cell.label for cell in plan(tmp_path, "seeds = [0]\nbaselines = true\n" + named)]
    assert labels == ["mean5", "bilateral", "linear", "rotated", "mine", "m"]


def test_a_cell_with_a_filter_is_the_filter_stage_and_the_linear_evaluation(tmp_path, given):
    text = 'seeds = [2]\n[[variants]]\nname = "m"\nfilter = "bilateral"\n' + SMALL
    file = write(tmp_path / "plan.toml", text)
    (result,) = ablate(file, tmp_path / "out", replace(given, head=False), say=lambda _: None)
    assert not result.failure
    filtered, _ = filter_store(FeatureStore.open(given.store[0]), tmp_path / "by_hand", "bilateral")
    expected = probe([filtered], given.annotations, ProbeConfig(seeds=(2,))).stores[0].scores
    assert result.scores["accuracy"] == expected.accuracy.mean
    assert result.scores["average_precision"] == expected.average_precision.mean
    assert np.isfinite(list(result.scores.values())).all() and "gain" not in result.scores
    assert not (tmp_path / "out" / "cells" / result.cell.name / "filtered").exists()

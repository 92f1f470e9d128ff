"""The controls of the linear evaluation: filters, a rotation of the channels, a converged classifier."""

import json
from dataclasses import replace

import numpy as np
import pytest

from pipeline.cli import main
from pipeline.config import ProbeConfig
from pipeline.errors import PipelineError
from pipeline.stages.enhance import enhance_store
from pipeline.stages.filter_store import filter_store
from pipeline.stages.linear_probe import StoreScores, probe, probe_rows, rotation_warnings
from pipeline.stages.logistic_probe import learn_logistic
from pipeline.stages.probe_views import rotation, views_of
from sola.config import SolaConfig
from sola.evaluation import EvaluationResult, Score
from sola.filters import FILTERS
from tests.pipeline.stages.test_linear_probe import two_stores

QUICK = ProbeConfig(seeds=(0,), distances=(1, 2))
FITTED = SolaConfig(hidden=4, predictor_hidden=4, steps=2, window_snippets=16, tsm_size=4, device="cpu")


def test_filters_stand_beside_a_store_with_sola_and_are_those_of_the_stage(tmp_path):
    good, poor, truth = two_stores(tmp_path)
    enhanced, _ = enhance_store(poor, tmp_path / "e", FITTED)
    result = probe([poor, enhanced], truth, QUICK)
    assert [store.view for store in result.stores] == ["", *FILTERS, ""]
    assert [store.sola for store in result.stores] == [False] * 5 + [True]
    filtered = [filter_store(poor, tmp_path / name, name)[0] for name in ("mean5", "bilateral")]
    by_hand = probe(filtered, truth, QUICK)
    assert [store.scores for store in by_hand.stores] == [store.scores for store in result.stores[2:4]]
    assert not any(store.sola for store in by_hand.stores)
    assert result.stores[1].title == "mean3"
    assert [store["view"] for store in result.as_json()["stores"] if "view" in store] == list(FILTERS)
    assert len(next(probe_rows(result))) == 1 + 6
    # Without SoLa there is nothing to compare them with, unless they are asked for.
    assert [view.kind for view in views_of([good, poor], QUICK)] == ["", ""]
    views = views_of([poor, enhanced], replace(QUICK, filters=("mean5",), rotate=True))
    assert [view.kind for view in views] == ["", "rotated", "mean5", ""]
    with pytest.raises(PipelineError, match="is enhanced: filters"):
        probe([enhanced], truth, replace(QUICK, rotate=True))


@pytest.mark.parametrize("streams", [(), (2, 4)])
def test_a_rotation_keeps_every_cosine_inside_its_stream(streams):
    rows = np.random.default_rng(0).normal(size=(9, 6)).astype(np.float32)
    turned = rotation(6, streams)(rows)
    assert not np.allclose(turned, rows, atol=0.1)
    for begin, end in ((0, 2), (2, 6)) if streams else ((0, 6),):
        before, after = rows[:, begin:end], turned[:, begin:end]
        np.testing.assert_allclose(after @ after.T, before @ before.T, atol=1e-5)
    np.testing.assert_array_equal(turned, rotation(6, streams)(rows))


def test_the_rotated_store_scores_as_the_plain_one(tmp_path):
    good, _, truth = two_stores(tmp_path)
    result = probe([good], truth, replace(QUICK, rotate=True, logistic=True))
    plain, turned = result.stores
    assert turned.view == "rotated"
    assert turned.scores.accuracy.mean == pytest.approx(plain.scores.accuracy.mean, abs=0.051)
    assert turned.logistic == plain.logistic
    assert result.notes == ()


def scores(value: float, deviation: float) -> EvaluationResult:
    one = Score(value, deviation, 1000)
    return EvaluationResult(one, one, one, {1: one, 2: None}, None, 0.5)


def test_a_rotation_that_moves_a_score_by_more_than_its_deviation_is_told_on_top():
    plain = StoreScores("s", "", "e", False, scores(0.8, 0.01))
    turned = replace(plain, view="rotated", scores=scores(0.805, 0.001))
    assert rotation_warnings([plain, turned]) == []
    (warning,) = rotation_warnings([plain, replace(turned, scores=scores(0.75, 0.02))])
    assert "accuracy -5.0, balanced accuracy -5.0, average precision -5.0, accuracy within 1 -5.0 points" in warning
    assert rotation_warnings([plain]) == []
    both = [replace(store, logistic=scores(0.8 + 0.1 * bool(store.view), 0)) for store in (plain, turned)]
    assert "logistic accuracy +10.0" in rotation_warnings(both)[0]


def test_the_logistic_regression_has_converged_and_its_penalty_is_chosen():
    random = np.random.default_rng(0)
    rows = random.normal(size=(300, 4))
    truth = np.array([2.0, -1.0, 0.0, 0.0])
    labels = random.random(300) < 1 / (1 + np.exp(-(rows @ truth + 0.5)))
    videos, weights = np.repeat(np.arange(10), 30), np.ones(300)
    weight, bias = learn_logistic(rows, labels, videos, weights, 0)
    # At the minimum of sum_i log loss + |w|² / 2C the gradient is 0: that of the bias has no penalty.
    excess = 1 / (1 + np.exp(-(rows @ weight + bias))) - labels
    assert abs(excess.sum()) < 0.1
    ratio = -(excess @ rows) / weight  # 1 / C in every direction
    assert np.abs(ratio).max() <= 10.5
    np.testing.assert_allclose(weight, truth, atol=0.7)
    # Without a signal the largest penalty is right.
    noise, _ = learn_logistic(rows, random.random(300) < 0.5, videos, weights, 0)
    assert np.abs(noise).max() < 0.3
    # One video alone cannot be held out.
    assert np.isfinite(learn_logistic(rows, labels, np.zeros(300), weights, 0)[0]).all()


def test_the_command_shows_the_controls(tmp_path, capsys):
    good, _, truth = two_stores(tmp_path)
    out = tmp_path / "p.json"
    words = ["linear-probe", str(good.path), "--annotations", str(truth), "--seeds", "0", "--out", str(out)]
    with pytest.raises(SystemExit, match="0"):
        main([*words, "--rotate", "--logistic", "--filters", "mean3", "bilateral"])
    table = capsys.readouterr().out
    assert "logistic balanced accuracy" in table
    stores = json.loads(out.read_text())["stores"]
    assert [store.get("view", "") for store in stores] == ["", "rotated", "mean3", "bilateral"]
    assert all(store["logistic"]["accuracy"]["mean"] == 1 for store in stores[:2])


def test_without_scikit_learn_the_remedy_is_named(tmp_path, monkeypatch):
    good, _, truth = two_stores(tmp_path)
    monkeypatch.setitem(__import__("sys").modules, "sklearn.linear_model", None)
    with pytest.raises(PipelineError, match=r"pip install 'sola-pipeline\[probe\]'"):
        probe([good], truth, ProbeConfig(seeds=(0,), logistic=True))

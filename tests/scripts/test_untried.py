"""The ideas beyond the paper that were tried: their losses on cases worked by hand, their fits, and the verdict."""

import importlib.machinery
import importlib.util
import json
import math
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.store.feature_store import FeatureStore
from sola.config import SolaConfig
from sola.correction import effective_dimensions
from sola.fit import fit
from sola.similarity import target_tsm
from tests import ROOT
from tests.sola.test_options import CHANNELS, SMALL, Videos
from tests.stores import annotate, make_store

sys.path.insert(0, str(ROOT / "scripts" / "experiments"))
sys.path.insert(0, str(ROOT / "scripts" / "experiments" / "untried"))
import untried_fits as fits
import untried_losses as losses
import untried_tables as tables

FOLDER = ROOT / "scripts" / "experiments" / "untried"


def test_the_variance_term_is_what_channels_lack_of_a_deviation_of_one() -> None:
    rows = torch.tensor([[-2.0, 0.5, 0.0], [2.0, -0.5, 0.0]])  # variances with N - 1: 8, 0.5, 0
    expected = (0 + (1 - math.sqrt(0.5)) + 1) / 3
    assert losses.variance_term(rows).item() == pytest.approx(expected, abs=5e-3)  # the published 1e-4 in the root


def test_the_covariance_term_counts_each_pair_of_channels_twice() -> None:
    rows = torch.tensor([[1.0, 2.0, 5.0], [-1.0, -2.0, 5.0], [0.0, 0.0, 5.0]])  # cov(0, 1) = (2 + 2) / 2 = 2
    assert losses.covariance_term(rows).item() == pytest.approx(2 * 2**2 / 3)
    assert losses.covariance_term(torch.tensor([[1.0, 0.0], [-1.0, 0.0]])).item() == 0


def test_infonce_compares_rows_of_a_segment_with_all_other_rows_but_not_with_each_other() -> None:
    z = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]], requires_grad=True)
    loss = losses.segment_infonce(z, torch.tensor([4, 4, 9]), temperature=0.5)
    # Both anchors have the other as the one positive (cosine 0) and the third row as the negative (cosines -1 and 0).
    expected = (math.log(1 + math.exp(-2)) + math.log(2)) / 2
    assert loss.item() == pytest.approx(expected, rel=1e-6)
    loss.backward()
    assert torch.isfinite(z.grad).all()


@pytest.mark.parametrize("segments", [[1, 1, 1], [1, 2, 3]])
def test_infonce_without_positives_or_without_negatives_is_no_loss(segments: list[int]) -> None:
    z = torch.eye(3, requires_grad=True)
    loss = losses.segment_infonce(z, torch.tensor(segments), temperature=0.1)
    loss.backward()
    assert loss.item() == 0 and torch.isfinite(z.grad).all()


def test_a_splice_shows_the_other_video_from_the_cut_on_and_its_target_is_unrelated_across() -> None:
    rows, others = torch.zeros(2, 4, 1), torch.ones(2, 4, 1)
    made = losses.spliced(rows, others, torch.tensor([2, 3, 5, 7]), torch.tensor([5, 99]))
    assert made[:, :, 0].tolist() == [[0, 0, 1, 1], [0, 0, 0, 0]]
    own = target_tsm(3, 16.0)
    target = losses.spliced_target(own, torch.tensor([2, 4, 6]), torch.tensor([4, 99]))
    assert torch.equal(target[1], own)
    assert target[0].tolist() == [[1, 0.5, 0.5], [0.5, 1, own[1, 2].item()], [0.5, own[2, 1].item(), 1]]


def test_slow_directions_find_a_slow_wave_under_noise() -> None:
    random = np.random.default_rng(0)
    wave = np.sin(np.arange(600) / 40)
    turn, _ = np.linalg.qr(random.normal(size=(4, 4)))
    signals = np.column_stack([wave, 5 * random.normal(size=600), random.normal(size=(600, 2))])
    rows = signals @ turn + 7
    mean, slow = losses.slow_directions([rows[:300], rows[300:]], 2)
    found = (rows - mean) @ slow
    assert abs(np.corrcoef(found[:, 0], wave)[0, 1]) > 0.98
    assert found.var(axis=0) == pytest.approx([1, 1], rel=0.15)  # less what the shrinkage takes
    speeds = np.square(np.diff(found, axis=0)).mean(axis=0)
    assert speeds[0] < 0.1 < speeds[1]


def test_slow_directions_are_joined_and_vary_as_much_as_the_plain_features() -> None:
    videos = Videos((200, 300))
    change = fits.slow_joined(videos, SMALL)
    made = np.concatenate([change(rows) for rows in videos.sequences])
    assert np.array_equal(made[:, :CHANNELS], np.concatenate(videos.sequences))
    plain, slow = made[:, :CHANNELS].var(axis=0).sum(), made[:, CHANNELS:].var(axis=0).sum()
    assert slow == pytest.approx(plain, rel=0.05)


def test_a_loss_of_ours_takes_the_steps_that_the_product_takes() -> None:
    from sola.fit_step import batch_loss

    expected = fit(Videos(), SMALL, channels=CHANNELS).module
    change = fits.fitted(Videos(), SMALL, lambda state, windows, batch: batch_loss(state, batch)[0])
    rows = Videos().sequences[4]
    assert np.array_equal(change(rows), fits.of_module(expected)(rows))


@pytest.mark.parametrize("row", list(fits.FITS))
def test_every_fit_changes_features_except_plain_ones_and_repeats(row: str) -> None:
    rows = Videos().sequences[4]
    config = SolaConfig(**{**vars(SMALL), "learning_rate": 0.05})
    made, again = (fits.FITS[row](Videos((60, 90, 40, 5)), config)(rows) for _ in range(2))
    assert made.dtype == rows.dtype and len(made) == len(rows) and np.array_equal(made, again)
    assert np.array_equal(made, rows) == (row == "plain")


def test_variance_and_covariance_hold_against_the_collapse() -> None:
    random = np.random.default_rng(0)
    videos = Videos((120,) * 6)
    for rows in videos.sequences:  # one slow channel, and noise in five
        rows[:] = random.normal(size=rows.shape)
        rows[:, 0] = np.sqrt(2) * np.sin(np.arange(len(rows)) / 9 + 9 * random.normal())
    config = SolaConfig(**{**vars(SMALL), "steps": 60, "hidden": 16, "normalize": "center", "predictor": False})
    before, without, with_terms = (
        effective_dimensions(torch.from_numpy(np.concatenate([change(rows) for rows in videos.sequences])))
        for change in (fits.plain(videos, config), fits.published(videos, config), fits.vicreg(videos, config))
    )
    assert before == pytest.approx(6, abs=0.1)
    assert without < 4 and with_terms > 4.8


def test_segments_are_numbered_over_videos() -> None:
    one = np.repeat(np.eye(4, dtype=np.float32)[:2], 20, axis=0)
    two = np.repeat(np.eye(4, dtype=np.float32)[2:], 10, axis=0)
    numbers = fits.segment_numbers([one, two])
    assert [len(np.unique(of_video)) for of_video in numbers] == [2, 2]
    assert numbers[0][19] != numbers[0][20] and numbers[1][9] != numbers[1][10]
    assert not set(numbers[0]) & set(numbers[1])


def test_the_splice_is_seen_by_the_loss_and_short_videos_are_not_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr(fits, "spliced", lambda *words: seen.append(words[3]) or losses.spliced(*words))
    fits.no_leak(Videos((60, 90, 40)), SMALL)
    cuts = torch.cat(seen)
    kept = cuts == SMALL.window_snippets
    assert kept.any() and not kept.all() and set(cuts[~kept].tolist()) <= set(SMALL.positions[1:])
    seen.clear()
    fits.no_leak(Videos((5, 8, 4)), SMALL)
    assert (torch.cat(seen) == SMALL.window_snippets).all()


def scores(boundary: float, mean_ap: float) -> dict[str, float]:
    return dict.fromkeys(tables.COLUMNS, 0.8) | {tables.BOUNDARY: boundary, tables.HEAD: mean_ap, "rank": 9.0}


def test_an_idea_earns_its_place_with_both_gains_on_two_data_sets_only() -> None:
    plain = {("fold0", seed): scores(0.5, 0.5) for seed in range(2)}
    good = {("fold0", 0): scores(0.54, 0.52), ("fold0", 1): scores(0.56, 0.54)}
    noisy = {("fold0", 0): scores(0.54, 0.49), ("fold0", 1): scores(0.56, 0.54)}
    found = {name: {"plain": plain, "good": good, "noisy": noisy if name == "one" else good} for name in ("one", "two")}
    first, second = tables.verdict(found, ("good", "noisy")).splitlines()
    assert "good: earns its place" in first
    assert "noisy: does not earn" in second and "within 1 on one, two; mAP, actionness on two" in second
    text = tables.written_tables(found)
    assert "| good | 2 | +0.0 ± 0.0 | +5.0 ± 1.0 | +0.0 ± 0.0 | +0.0 ± 0.0 | +3.0 ± 1.0 | 9.0 ± 0.0 |" in text
    assert "| plain | 2 | 80.0 ± 0.0 | 50.0 ± 0.0 |" in text


def compare_fits():
    loader = importlib.machinery.SourceFileLoader("compare_fits", str(FOLDER / "compare_fits"))
    spec = importlib.util.spec_from_loader("compare_fits", loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


def test_finished_cells_are_kept_and_the_table_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = tmp_path / "data" / "fold0"
    data.mkdir(parents=True)
    random = np.random.default_rng(0)
    make_store(data / "features", {f"v{i}": random.random((30, 4), dtype=np.float32) for i in range(4)})
    annotate(
        data / "annotations.json",
        {f"v{i}": ("training" if i < 2 else "validation", 15.0, [(2.0, 8.0, "a")]) for i in range(4)},
    )
    script = compare_fits()
    done: list[int] = []

    def evaluated(store: FeatureStore, *words: object) -> dict[str, float]:
        done.append(store.spec.channels)
        return {f"logistic_{name}": 0.5 for name in ("accuracy", "accuracy_within_1")} | {"map_own": 0.5}

    monkeypatch.setattr(script, "evaluated", evaluated)
    words = [str(data.parent), "--out", str(tmp_path / "out"), "--seeds", "1", "--steps", "2"]
    monkeypatch.setattr(sys, "argv", ["compare_fits", *words, "--only", "plain", "slow directions joined"])
    script.main()
    assert done == [4, 8], "of 4 channels there are 4 slow directions at most"
    script.main()
    assert len(done) == 2
    cell = json.loads((tmp_path / "out" / "cells" / "data" / "fold0" / "plain-seed0.json").read_text())
    assert 1 < cell["scores"]["rank"] <= 4
    assert "| slow directions joined | 1 | +0.0 ± 0.0 |" in (tmp_path / "out" / "results.md").read_text()

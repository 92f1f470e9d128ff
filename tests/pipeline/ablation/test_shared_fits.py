"""Cells of an ablation that have one SoLa fit it once."""

from pathlib import Path

import pytest

from pipeline.ablation.ablate import ablate
from pipeline.ablation.cell import share_sola, work_cell
from pipeline.ablation.config import AblateConfig
from pipeline.errors import PipelineError
from pipeline.store.feature_store import FeatureStore
from sola.fit import fit
from tests.pipeline.ablation.plans import SMALL, plan, write


def count_fits(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list that records the seeds of all further fits in this process."""
    seeds: list[int] = []

    def counted(source, config, **others):
        seeds.append(config.seed)
        return fit(source, config, **others)

    monkeypatch.setattr("pipeline.stages.enhance.fit", counted)
    return seeds


def test_cells_with_the_same_sola_fit_it_once_and_get_what_each_alone_would(tmp_path, given, monkeypatch):
    file = write(tmp_path / "plan.toml", "seeds = [0, 1]\n[grid]\ntrain.epochs = [1, 2]\n" + SMALL)
    seeds = count_fits(monkeypatch)
    together = ablate(file, tmp_path / "out", given, say=lambda _: None)
    assert seeds == [0, 1]
    assert [result.failure for result in together] == [""] * 4
    for result in together:
        folder = tmp_path / "alone" / result.cell.name
        alone = work_cell(result.cell, FeatureStore.open(given.store[0]), folder, keep_features=False)
        assert alone == result.scores
    assert seeds == [0, 1, 0, 1, 0, 1]


def test_the_module_of_a_finished_cell_serves_those_that_are_added_later(tmp_path, given, monkeypatch):
    seeds = count_fits(monkeypatch)
    for epochs in ("[1]", "[1, 2]"):
        file = write(tmp_path / "plan.toml", f"seeds = [3]\n[grid]\ntrain.epochs = {epochs}\n" + SMALL)
        ablate(file, tmp_path / "out", given, say=lambda _: None)
    assert seeds == [3]


def test_where_the_first_of_the_cells_that_share_fails_the_next_one_fits(tmp_path, given, monkeypatch):
    def work(cell, store, folder, *, keep_features, module=None):
        asked.append((cell.config.train.epochs, module is not None))
        if len(asked) == 1:
            raise PipelineError("no room")
        return work_cell(cell, store, folder, keep_features=keep_features, module=module)

    asked: list[tuple[int, bool]] = []
    monkeypatch.setattr("pipeline.ablation.cell.work_cell", work)
    file = write(tmp_path / "plan.toml", "seeds = [0]\n[grid]\ntrain.epochs = [1, 2, 3]\n" + SMALL)
    results = ablate(file, tmp_path / "out", given, say=lambda _: None)
    assert asked == [(1, False), (2, False), (3, True)]
    assert [result.failure for result in results] == ["no room", "", ""]


def test_sola_is_shared_by_settings_seed_and_store_and_not_by_cells_without_it(tmp_path):
    text = 'seeds = [0, 1]\n[[variants]]\nname = "without"\nuse_sola = false\n[[variants]]\nname = "SoLa"\n'
    text += "[grid]\nsola.k = [4.0, 16.0]\ntrain.epochs = [1, 2]\n"
    given = AblateConfig(store=(Path("tsn"), Path("i3d")), annotations=Path("a.json"))
    cells = plan(tmp_path, text, given)
    groups = share_sola(cells, {cell.name: cell.store for cell in cells})
    assert [cell for group in groups for cell in group if not cell.config.use_sola] == [
        cell for cell in cells if not cell.config.use_sola
    ]
    shared = [group for group in groups if group[0].config.use_sola]
    assert len(shared) == 2 * 2 * 2 and len(groups) - len(shared) == 2 * 2 * 2  # store, k or epochs, seed
    for group in shared:
        assert len({(cell.store, cell.config.sola) for cell in group}) == 1
        assert [cell.config.train.epochs for cell in group] == [1, 2]

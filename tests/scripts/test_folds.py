"""The experiment in folds: snippets across a cut are mixed, and the table shows changes within a fold and seed."""

import csv
import importlib.machinery
import importlib.util
import sys
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest

from pipeline.ablation.config import AblateConfig
from pipeline.ablation.plan import read_plan
from pipeline.errors import SOME_FAILED
from pipeline.synthetic.stitch_plan import Piece, StitchedVideo
from tests import ROOT

FOLDER = ROOT / "scripts" / "experiments" / "folds"


def script(name: str):
    loader = importlib.machinery.SourceFileLoader(name, str(FOLDER / name))
    spec = importlib.util.spec_from_loader(name, loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


def test_the_shipped_rows_are_accepted() -> None:
    cells = read_plan(FOLDER / "rows.toml", AblateConfig(store=(Path("s"),), annotations=Path("a.json")))
    assert len(cells) == 8 * 2 * 3
    assert {cell.config.train.validate_every_epochs == cell.config.train.epochs for cell in cells} == {True}


def test_snippets_average_frames_over_cuts_and_keep_their_cosines() -> None:
    rows = {Path("a"): np.eye(6)[:4], Path("b"): 3 * np.eye(6)[2:]}
    pieces = (Piece(Path("a"), 1, 3, None), Piece(Path("b"), 0, 4, "x"))  # frames 1 to 3 of a, then 0 to 3 of b
    video = StitchedVideo("v", 0, "training", pieces, 0)
    made = script("stitch_features").snippets_of([video], rows, Namespace(stride=2, channels=6, seed=0))["v"]
    # Frames 0 to 3 of the video are e1, e2, e3, 3 e2; frames 2 to 5 are e3, 3 e2, 3 e3, 3 e4.
    expected = np.array([[0, 1, 4, 1, 0, 0], [0, 0, 3, 4, 3, 0]]) / 4
    assert len(made) == 2, "of 7 frames, windows of 4 every 2"
    assert np.allclose(made @ made.T, expected @ expected.T, atol=1e-6)


def results(folder: Path, cells: dict[tuple[str, int], float]) -> Path:
    folder.mkdir()
    file = folder / "results.csv"
    with file.open("w", encoding="utf-8", newline="") as lines:
        table = csv.writer(lines)
        table.writerow(["variant", "train.head.kind", "seed", "accuracy", "map_at_0.5", "map_own", "failure"])
        for (variant, seed), score in cells.items():
            table.writerow([variant, "gtad", seed, score, score / 2, score / 4, ""])
        table.writerow(["SoLa", "gtad", 9, 0.0, 0.0, 0.0, "it failed"])
    return file


def test_a_cell_that_fails_costs_only_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folds = script("ablate_folds")
    for name in ("fold0", "fold1"):
        (tmp_path / "folds" / name).mkdir(parents=True)

    def ablate(words: list[str]) -> None:
        results(Path(words[words.index("--out") + 1]), {("without SoLa", 0): 0.8})
        sys.exit(SOME_FAILED)

    monkeypatch.setattr(folds, "command", ablate)
    words = ["ablate_folds", "rows.toml", "--folds", str(tmp_path / "folds"), "--out", str(tmp_path / "out")]
    (tmp_path / "out").mkdir()
    monkeypatch.setattr(sys, "argv", words)
    assert folds.main() == SOME_FAILED
    assert "| without SoLa | 2 |" in (tmp_path / "out" / "results.md").read_text()


@pytest.mark.parametrize(("turned", "told"), [((0.83, 0.79), False), ((0.83, 0.81), True)])
def test_the_table_has_changes_within_a_fold_and_seed(tmp_path: Path, turned: tuple[float, float], told: bool) -> None:
    folds = script("ablate_folds")
    one = {("without SoLa", 0): 0.8, ("without SoLa", 1): 0.8, ("SoLa", 0): 0.82, ("SoLa", 1): 0.84}
    two = {("without SoLa", 0): 0.6, ("without SoLa", 1): 0.8, ("SoLa", 0): 0.62, ("SoLa", 1): 0.84}
    one |= {("rotated", seed): score for seed, score in enumerate(turned)}
    rows = folds.read_results([results(tmp_path / "fold0", one), results(tmp_path / "fold1", two)])
    _, linear, heads = folds.tables(rows)
    assert "| without SoLa | 4 | 75.0 ± 8.7 |" in linear
    assert "| SoLa | 4 | +3.0 ± 1.0 |" in linear, "2, 4, 2 and 4 points, whatever the folds differ by"
    assert "| SoLa | 4 | +1.5 ± 0.5 |" in heads
    assert ("**A rotation, which changes no cosine, moves accuracy +2.0.**" in linear) is told

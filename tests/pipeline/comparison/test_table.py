"""What a comparison says: the sentence, worked by hand, and large numbers."""

from pathlib import Path

import pytest

from pipeline.ablation.cell import CellResult
from pipeline.ablation.plan import Cell
from pipeline.comparison.table import large
from pipeline.comparison.verdict import verdict
from pipeline.config import CellConfig


def results(**rows: dict[int, float | None]) -> list[CellResult]:
    config = CellConfig(videos=[], out=Path("-"))
    found = []
    for name, scores in rows.items():
        for seed, score in scores.items():
            cell = Cell(name=f"{name}{seed}", options={"variant": name}, seed=seed, store=None, config=config)
            found.append(CellResult(cell, {}, "failed") if score is None else CellResult(cell, {"map": score}))
    return found


def test_differences_are_taken_seed_by_seed():
    # tsp gains 4 and 6 points: 5 ± 1.41; sola gains 1 and -1.5: -0.25 ± 1.77, though all lie far apart in the seeds.
    found = results(frozen={0: 0.2, 1: 0.4}, tsp={0: 0.24, 1: 0.46}, sola={0: 0.21, 1: 0.385})
    assert verdict(found, "frozen", "map") == (
        "Against frozen (mAP 30.0%), these differ by more than their deviation over the seeds: tsp (+5.0 ± 1.4); "
        "do not: sola (-0.2 ± 1.8)."
    )


def test_seeds_that_failed_are_left_out_of_the_pairs():
    found = results(frozen={0: 0.2, 1: None, 2: 0.3}, tsp={0: None, 1: 0.9, 2: 0.3}, tac={0: 0.1, 1: 0.1, 2: 0.1})
    text = verdict(found, "frozen", "map")
    assert "tac (-15.0 ± 7.1)" in text and "tsp" not in text


def test_nothing_is_said_without_something_to_compare():
    one = results(frozen={0: 0.2}, tsp={0: 0.4})
    assert "one seed cannot tell" in verdict(one, "frozen", "map")
    assert "frozen failed" in verdict(results(frozen={0: None}, tsp={0: 0.4}), "frozen", "map")
    none = results(frozen={0: 0.2, 1: 0.4}, tsp={0: 0.3, 1: 0.2})
    assert "than their deviation over the seeds: none; do not: tsp" in verdict(none, "frozen", "map")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (999, "999"),
        (1000, "1 k"),
        (1530, "1.53 k"),
        (999_600, "1 M"),
        (123_456_789, "123 M"),
        (5.7e17, "570 P"),
    ],
)
def test_large_numbers_are_shown_with_three_digits(value, text):
    assert large(value) == text

"""Tables that are parsed one by one give the settings that all of them give at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.ablation.parse_settings import _parsed, settings_from
from pipeline.config import CellConfig
from pipeline.errors import PipelineError

FILE = Path("plan.toml")
PLACES = {"videos": ["a.mp4", "b c.mp4"], "out": "-", "annotations": "truth.json"}


@pytest.mark.parametrize(
    "values",
    [
        PLACES,
        {**PLACES, "sola": {}, "use_sola": False, "filter": "mean3"},
        {**PLACES, "baseline": True, "filters": ["mean3", "linear"], "rotate": False},
        {
            **PLACES,
            "extract": {"encoder": "tsn_r18", "stride_seconds": 0.5, "weights": "random"},
            "sola": {"steps": 7, "kernel_sizes": [5, 1, 1], "seed": 3},
            "train": {"head": {"kind": "gtad", "embed_dim": 64}, "epochs": 2},
            "linear_probe": {"seeds": [2]},
        },
    ],
)
def test_settings_are_those_of_the_whole_file(values):
    for _ in range(2):  # the second time from memory
        assert settings_from(values, CellConfig, FILE) == _parsed(values, CellConfig, FILE)


@pytest.mark.parametrize(
    "wrong",
    [
        {"sola": {"stepz": 5}},
        {"sola": {"steps": "many"}},
        {"train": {"head": {"levels": 99}}},
        {"colour": 3},
        {"filters": ["mean3"]},
        {"use_sola": "maybe"},
        {"evaluate": 5},
        {"train": [1, 2]},
        {"sola": {"steps": 2.5}},
    ],
)
def test_errors_are_those_of_the_whole_file(wrong):
    values = {**PLACES, **wrong}
    with pytest.raises(PipelineError) as expected:
        _parsed(values, CellConfig, FILE)
    with pytest.raises(PipelineError) as found:
        settings_from(values, CellConfig, FILE)
    assert str(found.value) == str(expected.value)


def test_what_is_missing_is_named():
    with pytest.raises(PipelineError, match=r"plan\.toml: .*--out"):
        settings_from({"videos": ["a.mp4"]}, CellConfig, FILE)

"""The file of a fitted module."""

import os
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from sola.config import SolaConfig, config_from_dict, config_to_dict
from sola.errors import SolaError
from sola.files import load_module, save_module, write_atomically
from sola.module import SolaModule, initial_networks

CONFIG = SolaConfig(hidden=6, kernel_sizes=(3, 1), dilations=(2, 1), steps=40, target_sharpness=9.5, precision="auto")


def random_module() -> SolaModule:
    module, _ = initial_networks(4, CONFIG)
    with torch.no_grad():
        module.alpha.fill_(0.3)
    return module


def test_a_saved_module_comes_back_with_its_weights_configuration_and_extras(tmp_path: Path) -> None:
    module, path = random_module(), tmp_path / "m.safetensors"
    save_module(path, module, CONFIG, {"encoder": "tsn_r50", "läuft": "ja"})
    loaded, config, extra = load_module(path)
    assert config == CONFIG
    assert extra == {"encoder": "tsn_r50", "läuft": "ja"}
    x = torch.randn(2, 9, 4)
    assert torch.equal(loaded(x), module(x))
    assert [p.name for p in tmp_path.iterdir()] == ["m.safetensors"]


def test_a_configuration_survives_json_shaped_values() -> None:
    assert config_from_dict(config_to_dict(CONFIG)) == CONFIG
    with pytest.raises(SolaError, match="unknown options kernels"):
        config_from_dict({"kernels": 3})


def test_an_absent_or_foreign_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    with pytest.raises(SolaError, match="no module file"):
        load_module(path)
    path.write_bytes(b"\x80\x04 a pickle")
    with pytest.raises(SolaError, match="not a readable safetensors file"):
        load_module(path)
    save_file({"w": torch.zeros(2)}, path, metadata={"format": "pt"})
    with pytest.raises(SolaError, match="not a saved SoLa module"):
        load_module(path)


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    save_module(path, random_module(), CONFIG)
    os.truncate(path, path.stat().st_size - 10)
    with pytest.raises(SolaError, match="not a readable safetensors file"):
        load_module(path)


def test_weights_that_do_not_fit_the_configuration_are_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    save_module(path, random_module(), CONFIG)
    weights = load_file(path)
    weights["stray"] = weights.pop("conv_network.0.bias")
    weights["conv_network.2.weight"] = torch.zeros(4, 7, 1)
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    save_file(weights, path, metadata=metadata)
    expected = (
        r"missing conv_network.0.bias; unknown stray; "
        r"conv_network.2.weight has shape \[4, 7, 1\], expected \[4, 6, 1\]"
    )
    with pytest.raises(SolaError, match=expected):
        load_module(path)


def test_a_write_that_fails_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_text("old")

    def half_way(temporary: Path) -> None:
        temporary.write_text("ne")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_atomically(path, half_way)
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["f"]


def test_equal_modules_make_equal_files(tmp_path: Path) -> None:
    module, extra = random_module(), {"fitted_on": "a", "note": "b", "more": "c"}
    contents = set()
    for number in range(8):
        save_module(tmp_path / f"{number}.safetensors", module, CONFIG, extra)
        contents.add((tmp_path / f"{number}.safetensors").read_bytes())
    assert len(contents) == 1

"""The fitted module's file."""

import math
import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from sola.config import SolaConfig, config_from_dict, config_to_dict
from sola.errors import SolaError
from sola.files import load_module, save_module, write_atomically
from sola.module import SolaModule, initial_networks
from sola.reference_checkpoint import load_reference, save_reference

CONFIG = SolaConfig(hidden=6, kernel_sizes=(3, 1), dilations=(2, 1), steps=40, k=9.5, precision="auto")


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


def test_a_checkpoint_of_the_reference_form_loads_and_can_be_written(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    weights = {
        "conv_network.0.weight": torch.randn(6, 4, 5, generator=generator),
        "conv_network.0.bias": torch.randn(6, generator=generator),
        "conv_network.2.weight": torch.randn(6, 6, 3, generator=generator),
        "conv_network.2.bias": torch.randn(6, generator=generator),
        "conv_network.4.weight": torch.randn(4, 6, 1, generator=generator),
        "conv_network.4.bias": torch.randn(4, generator=generator),
        "alpha": torch.tensor([0.4]),
    }
    torch.save(weights, tmp_path / "150.pt")
    module, config = load_reference(tmp_path / "150.pt", dilations=(1, 2, 1))
    assert (config.hidden, config.kernel_sizes, config.dilations) == (6, (5, 3, 1), (1, 2, 1))

    x = torch.randn(1, 9, 4, generator=generator)
    hidden = x.transpose(1, 2)
    for layer, (padding, dilation) in zip("024", [(2, 1), (2, 2), (0, 1)], strict=True):
        kernel, bias = weights[f"conv_network.{layer}.weight"], weights[f"conv_network.{layer}.bias"]
        hidden = F.conv1d(hidden, kernel, bias, padding=padding, dilation=dilation)
        hidden = hidden if layer == "4" else hidden.relu()
    expected = x + math.tanh(0.4) * hidden.transpose(1, 2)
    assert torch.allclose(module(x), expected, atol=1e-6)

    save_reference(tmp_path / "again.pt", module)
    again = torch.load(tmp_path / "again.pt", weights_only=True)
    assert again.keys() == weights.keys()
    assert all(torch.equal(again[name], weights[name]) for name in weights)


def test_a_file_that_is_not_of_the_reference_form_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "r.pt"
    with pytest.raises(SolaError, match="no checkpoint"):
        load_reference(path)
    path.write_bytes(b"no")
    with pytest.raises(SolaError, match="not a readable checkpoint"):
        load_reference(path)
    torch.save({"network.weight": torch.zeros(2)}, path)
    with pytest.raises(SolaError, match=r"conv_network\.0\.weight"):
        load_reference(path)
    torch.save({"conv_network.0.weight": torch.zeros(4, 4, 3), "alpha": torch.zeros(1)}, path)
    with pytest.raises(SolaError, match=r"missing conv_network\.0\.bias"):
        load_reference(path)
    with pytest.raises(SolaError, match="1 kernel sizes and 2 dilations"):
        load_reference(path, dilations=(1, 1))


def test_a_module_with_another_gate_cannot_take_the_reference_form(tmp_path: Path) -> None:
    module, _ = initial_networks(4, replace(CONFIG, gate="open"))
    with pytest.raises(SolaError, match="gate"):
        save_reference(tmp_path / "r.pt", module)

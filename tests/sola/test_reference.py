"""Checkpoints of the method's authors, read and written; the tests build their network from its description."""

import math
import pickle
from collections import OrderedDict
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from pipeline.cli import main
from pipeline.errors import PipelineError
from pipeline.stages.enhance import enhance_store
from pipeline.store.feature_store import MODULE_FILE, FeatureStore
from sola.config import SolaConfig
from sola.errors import SolaError
from sola.files import load_module
from sola.module import initial_networks
from sola.reference_checkpoint import load_reference, save_reference
from tests.pipeline.exports.test_exports import make_store

CHANNELS = 6


def authors_state(
    hidden: int = 5, kernels: tuple[int, ...] = (5, 3, 1), seed: int = 0
) -> OrderedDict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    widths = [CHANNELS, *[hidden] * (len(kernels) - 1), CHANNELS]
    state: OrderedDict[str, torch.Tensor] = OrderedDict(alpha=torch.tensor([0.4]))
    for place, kernel in enumerate(kernels):
        shape = (widths[place + 1], widths[place], kernel)
        state[f"conv_network.{2 * place}.weight"] = (
            torch.randn(shape, generator=generator) / math.prod(shape[1:]) ** 0.5
        )
        state[f"conv_network.{2 * place}.bias"] = torch.randn(shape[0], generator=generator) / 10
    return state


def authors_forward(state: dict[str, torch.Tensor], x: torch.Tensor, dilations: tuple[int, ...]) -> torch.Tensor:
    """Return their network's output for features [N, L, C]: x + tanh(alpha) * convolutions with ReLUs between."""
    hidden = x.permute(0, 2, 1)
    for place, dilation in enumerate(dilations):
        weight, bias = state[f"conv_network.{2 * place}.weight"], state[f"conv_network.{2 * place}.bias"]
        padding = int(0.5 * dilation * (weight.shape[2] - 1))
        hidden = F.conv1d(hidden.relu() if place else hidden, weight, bias, padding=padding, dilation=dilation)
    return x + torch.tanh(state["alpha"]) * hidden.permute(0, 2, 1)


@pytest.mark.parametrize("dilations", [None, (1, 2, 1)])
def test_their_checkpoint_gives_their_features(tmp_path: Path, dilations: tuple[int, ...] | None) -> None:
    state = authors_state()
    torch.save(state, tmp_path / "hacs_150.pt")
    module, config = load_reference(tmp_path / "hacs_150.pt", dilations=dilations)
    assert (config.hidden, config.kernel_sizes, config.dilations) == (5, (5, 3, 1), dilations or (1, 1, 1))
    x = torch.randn(2, 40, CHANNELS, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        difference = module(x) - authors_forward(state, x, config.dilations)
    assert difference.abs().max() <= 1e-7


def test_ours_comes_back_as_their_checkpoint_and_equal_modules_make_equal_files(tmp_path: Path) -> None:
    state = authors_state()
    torch.save(state, tmp_path / "theirs.pth")
    module, _ = load_reference(tmp_path / "theirs.pth", dilations=(1, 2, 1))
    settings = save_reference(tmp_path / "a.pt", module)
    assert settings == {
        "out_feature_dim": 6,
        "network_hidden_unit": 5,
        "kernel_size1": 5,
        "dilation1": 1,
        "kernel_size2": 3,
        "dilation2": 2,
    }
    again = torch.load(tmp_path / "a.pt", weights_only=True)
    assert again.keys() == state.keys()
    assert all(torch.equal(again[name], state[name]) for name in state)
    save_reference(tmp_path / "b.pt", module)
    assert (tmp_path / "a.pt").read_bytes() == (tmp_path / "b.pt").read_bytes()


@pytest.mark.parametrize("wrap", ["module", "inside", "deep inside", "old format"])
def test_what_training_code_puts_around_a_state_dict_is_taken_off(tmp_path: Path, wrap: str) -> None:
    state = authors_state()
    content = {
        "module": {f"module.{name}": value for name, value in state.items()},
        "inside": {"epoch": 3, "state_dict": state},
        "deep inside": {"step": 3, "nets": {"transformer": {"state_dict": state}}},
        "old format": state,
    }[wrap]
    torch.save(content, tmp_path / "m.pt", _use_new_zipfile_serialization=wrap != "old format")
    module, _ = load_reference(tmp_path / "m.pt")
    assert torch.equal(module.convolutions[0].weight, state["conv_network.0.weight"])


def refused(path: Path, content: object = None) -> str:
    if content is not None:
        torch.save(content, path)
    with pytest.raises(SolaError) as error:
        load_reference(path)
    text = str(error.value)
    assert "\n" not in text
    return text


def test_other_files_are_refused_with_what_was_found(tmp_path: Path) -> None:
    path = tmp_path / "r.pt"
    assert "there is no checkpoint" in refused(path)
    path.write_bytes(b"not it")
    assert "it begins with b'not it'" in refused(path)
    assert "holds network.weight [2]" in refused(path, {"network.weight": torch.zeros(2)})
    assert "not a state dict but a list" in refused(path, [torch.zeros(2)])
    assert "holds no tensors" in refused(path, {"a": 1})
    state = authors_state()
    assert "missing alpha" in refused(path, {name: value for name, value in state.items() if name != "alpha"})
    assert "missing conv_network.2.bias" in refused(
        path, {k: v for k, v in state.items() if k != "conv_network.2.bias"}
    )
    assert "unknown projection.0.weight" in refused(path, {**state, "projection.0.weight": torch.zeros(2, 2)})
    assert "kernel_sizes must be odd" in refused(path, authors_state(kernels=(4, 1, 1)))
    assert "conv_network.2.weight has shape [4, 5, 3]" in refused(
        path, {**state, "conv_network.2.weight": torch.zeros(4, 5, 3)}
    )
    integers = {**state, "conv_network.0.weight": torch.zeros(5, 6, 5, dtype=torch.int8)}
    assert "must be of floating-point numbers, it is of torch.int8" in refused(path, integers)
    assert "alpha has values that are not finite" in refused(path, {**state, "alpha": torch.tensor([math.nan])})
    endless = {**state, "conv_network.0.weight": torch.zeros(1).expand(1 << 20, 1 << 20, 5)}
    assert "claims more weights than it holds" in refused(path, endless)


class Malicious:
    def __reduce__(self):
        return print, ("code ran",)


@pytest.mark.parametrize("save", [torch.save, lambda content, path: path.write_bytes(pickle.dumps(content))])
def test_a_checkpoint_runs_no_code(tmp_path: Path, capsys: pytest.CaptureFixture[str], save) -> None:
    save({**authors_state(), "x": Malicious()}, tmp_path / "m.pt")
    refused(tmp_path / "m.pt")
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"kernel_sizes": (5, 1, 3)}, "the last one of kernel size 1"),
        ({"kernel_sizes": (5, 1), "dilations": (1, 1)}, "three convolutions"),
    ],
)
def test_a_module_that_their_network_cannot_hold_is_not_written(tmp_path: Path, change: dict, reason: str) -> None:
    config = replace(SolaConfig(hidden=4), **change)
    module, _ = initial_networks(4, config)
    with pytest.raises(SolaError, match=reason):
        save_reference(tmp_path / "r.pt", module)
    assert not (tmp_path / "r.pt").exists()


@pytest.mark.parametrize("name", ["their.pt", "their.pth", "their.ckpt"])
def test_a_store_is_enhanced_with_their_checkpoint_and_again(tmp_path: Path, name: str) -> None:
    store, state = make_store(tmp_path / "store"), authors_state()
    torch.save(state, tmp_path / name)
    out, summary = enhance_store(store, tmp_path / "out", SolaConfig(), module_file=tmp_path / name)
    assert summary.done == 3
    assert "does not state its dilations" in summary.notes[0]
    for video_id in store.ids():
        x = torch.from_numpy(np.array(store.read(video_id).features))[None]
        expected = authors_forward(state, x, (1, 1, 1))[0].numpy()
        np.testing.assert_allclose(out.read(video_id).features, expected, atol=1e-6)
    before = (tmp_path / "out" / MODULE_FILE).read_bytes()
    _, summary = enhance_store(store, tmp_path / "out", SolaConfig(), module_file=tmp_path / name)
    assert (summary.done, summary.skipped) == (0, 3)
    assert (tmp_path / "out" / MODULE_FILE).read_bytes() == before
    torch.save(authors_state(seed=1), tmp_path / name)
    with pytest.raises(PipelineError, match="is another module than"):
        enhance_store(store, tmp_path / "out", SolaConfig(), module_file=tmp_path / name)


def sola(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str]:
    with pytest.raises(SystemExit) as ended:
        main(["sola", *map(str, words), "--device", "cpu"])
    return int(ended.value.code or 0), capsys.readouterr().err


def test_the_command_takes_the_dilations_of_their_checkpoint(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store, state = make_store(tmp_path / "store"), authors_state()
    torch.save(state, tmp_path / "their.pth")
    words = (store.path, "--module", tmp_path / "their.pth", "--dilations", 2, 3, 1)
    code, said = sola(capsys, *words, "--out", tmp_path / "out")
    assert code == 0 and "--dilations 2 3 1 is used" in said
    (video_id, *_) = store.ids()
    x = torch.from_numpy(np.array(store.read(video_id).features))[None]
    found = FeatureStore.open(tmp_path / "out").read(video_id).features
    np.testing.assert_allclose(found, authors_forward(state, x, (2, 3, 1))[0].numpy(), atol=1e-6)
    ours = tmp_path / "out" / MODULE_FILE
    words = (store.path, "--module", ours, "--out", tmp_path / "again", "--dilations")
    assert sola(capsys, *words, 2, 3, 1)[0] == 0
    code, said = sola(capsys, *words, 2, 2, 1)
    assert code == 2 and "--dilations must not be given for" in said and "which states its own, 2 3 1" in said


def test_a_file_in_place_of_a_module_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = make_store(tmp_path / "store")
    for text, name in (
        ("version https://git-lfs.github.com/spec/v1\n", "Git LFS"),
        ("<html>", "a web page"),
        ("", "empty"),
    ):
        (tmp_path / "m.pth").write_text(text)
        code, said = sola(capsys, store.path, "--module", tmp_path / "m.pth", "--out", tmp_path / "out")
        assert code == 2 and name in said


def test_the_command_writes_a_fitted_module_in_their_form(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_store(tmp_path / "store")
    words = [
        "sola",
        f"{tmp_path}/store",
        "--out",
        f"{tmp_path}/out",
        "--steps",
        "2",
        "--device",
        "cpu",
        "--hidden",
        "4",
    ]
    reference = tmp_path / "ours.pt"
    with pytest.raises(SystemExit) as ended:
        main([*words, "--export-reference", str(reference)])
    assert ended.value.code == 0
    said = capsys.readouterr().out
    assert "kernel_size1: 5, dilation1: 1, kernel_size2: 1, dilation2: 1" in said
    assert "their code pads with zeros, this module was fitted with replicate: rows near the ends" in said
    module, _, _ = load_module(tmp_path / "out" / MODULE_FILE)
    loaded, _ = load_reference(reference)
    assert all(torch.equal(a, b) for a, b in zip(module.parameters(), loaded.parameters(), strict=True))
    with pytest.raises(SystemExit) as ended:
        main(
            [
                "sola",
                f"{tmp_path}/store",
                "--out",
                f"{tmp_path}/b",
                "--dilations",
                "1",
                "1",
                "2",
                "--export-reference",
                "r",
            ]
        )
    assert ended.value.code == 2
    assert "the last one of kernel size 1" in capsys.readouterr().err
    assert not FeatureStore.open(tmp_path / "store").path.with_name("b").exists()

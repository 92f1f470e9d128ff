"""What a module sees beyond the ends of a video: the same in a forward, in blocks, in windows and in batches."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.training.joint_sola import enhance_batch
from sola.config import SolaConfig, config_from_dict, config_to_dict, preset
from sola.enhance import enhance, enhance_array
from sola.errors import SolaError
from sola.files import load_module, save_module
from sola.fit import fit
from sola.module import SolaModule, initial_networks
from sola.padding import rows_beyond_ends
from sola.sampling import Windows, read_windows
from sola.sparse_forward import gathered_forward, layer_weights, plan_gather
from tests.sola.test_gauge import Arrays

C = 4
NUMPY_MODES = {"zeros": "constant", "replicate": "edge", "reflect": "reflect"}
MODES = pytest.mark.parametrize("padding", ["replicate", "reflect"])
CONFIG = SolaConfig(hidden=5, kernel_sizes=(5, 3, 1), dilations=(1, 2, 1), device="cpu")


def module_of(padding: str) -> SolaModule:
    module, _ = initial_networks(C, replace(CONFIG, padding=padding))
    with torch.no_grad():
        module.alpha.fill_(0.7)
    return module.eval()


def rows(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, C)).astype(np.float32)


def enhanced(padding: str, x: np.ndarray) -> np.ndarray:
    """The module's output by definition: on a sequence that was padded by hand, without what was added."""
    radius = 4  # 2 + 2 * 1
    wide = np.pad(x, ((radius, radius), (0, 0)), mode=NUMPY_MODES[padding])
    with torch.no_grad():
        return module_of("zeros")(torch.from_numpy(wide)[None])[0, radius:-radius].numpy()


def test_rows_beyond_the_ends_by_hand() -> None:
    places = np.arange(-4, 7)
    assert rows_beyond_ends(places, 3, "replicate").tolist() == [0, 0, 0, 0, 0, 1, 2, 2, 2, 2, 2]
    assert rows_beyond_ends(places, 3, "reflect").tolist() == [0, 1, 2, 1, 0, 1, 2, 1, 0, 1, 2]
    assert rows_beyond_ends(places, 1, "reflect").tolist() == [0] * 11


@MODES
@pytest.mark.parametrize("count", [1, 2, 5, 30])
def test_a_forward_is_that_of_the_padded_sequence(padding: str, count: int) -> None:
    x = rows(count)
    with torch.no_grad():
        found = module_of(padding)(torch.from_numpy(x)[None])[0].numpy()
    if count > 4 or padding == "replicate":  # numpy reflects again where the sequence is shorter than its padding too
        np.testing.assert_allclose(found, enhanced(padding, x), atol=1e-6)
    assert not np.allclose(found, module_of("zeros")(torch.from_numpy(x)[None])[0].detach().numpy(), atol=1e-3)


@pytest.mark.parametrize("padding", NUMPY_MODES)
@pytest.mark.parametrize("count", [1, 3, 1023, 1024, 1030])
def test_blocks_and_batches_are_the_forward(padding: str, count: int) -> None:
    module, x = module_of(padding), rows(count)
    with torch.no_grad():
        whole = module(torch.from_numpy(x)[None])[0].numpy()
    np.testing.assert_allclose(enhance_array(module, x), whole, atol=1e-5)
    chunked = np.concatenate(list(enhance(module, np.array_split(x, 7))))
    np.testing.assert_array_equal(chunked, enhance_array(module, x))
    batch = torch.full((2, count + 3, C), float("nan"))
    batch[0, :count], batch[1, :2] = torch.from_numpy(x), torch.from_numpy(x)[[0, -1]]
    mask = torch.arange(count + 3)[None] < torch.tensor([[count], [2]])
    with torch.no_grad():
        found = enhance_batch(module, batch, mask)
        second = module(batch[1:, :2])[0]
    np.testing.assert_allclose(found[0, :count], whole, atol=1e-5)
    np.testing.assert_allclose(found[1, :2], second, atol=1e-5)
    assert (found[~mask] == 0).all()


@MODES
@pytest.mark.parametrize(("length", "first"), [(3, -6), (10, -1), (40, 17)])
def test_windows_of_a_fit_are_the_module_on_the_window(padding: str, length: int, first: int) -> None:
    config, module, x = replace(CONFIG, padding=padding), module_of(padding), rows(length)
    plan = plan_gather(module, config.positions)
    windows = Windows(np.array([0]), np.array([first]))
    batch = read_windows(
        Arrays([x]), windows, plan.positions[0].tolist(), channels=C, window_snippets=23, padding=padding
    )
    with torch.no_grad():
        input, correction = gathered_forward(
            layer_weights(module), module.gate(), batch.rows, plan, first=batch.first, end=batch.end
        )
        begin, end = int(batch.first), int(batch.end)
        alone = module(torch.from_numpy(x[begin + first : end + first])[None])[0]
    inside = batch.inside(plan.positions[-1])[0]
    places = plan.positions[-1][inside] - begin
    np.testing.assert_allclose((input + correction)[0, inside], alone[places], atol=1e-6)


@MODES
def test_short_videos_are_fitted_with_padding(padding: str) -> None:
    source = Arrays([rows(length, seed=length) for length in (3, 9, 23, 60)])
    config = replace(CONFIG, padding=padding, steps=4, learning_rate=1e-2, predictor_hidden=4)
    by_padding = fit(source, config, channels=C).module
    by_zeros = fit(source, replace(config, padding="zeros"), channels=C).module
    assert by_padding.padding == padding
    assert not torch.equal(by_padding.conv_network[0].weight, by_zeros.conv_network[0].weight)


def test_files_without_the_option_are_of_zeros_and_those_of_zeros_have_none(tmp_path: Path) -> None:
    assert SolaConfig().padding == "replicate"
    assert preset("hacs") == SolaConfig(padding="zeros", adapt=False)
    old = replace(CONFIG, padding="zeros")
    assert "padding" not in config_to_dict(old)
    assert config_from_dict(config_to_dict(old)) == old
    assert config_from_dict(config_to_dict(CONFIG)) == CONFIG
    assert config_to_dict(CONFIG)["padding"] == "replicate"
    save_module(tmp_path / "m.safetensors", module_of("reflect"), replace(CONFIG, padding="reflect"))
    module, config, _ = load_module(tmp_path / "m.safetensors")
    assert module.padding == config.padding == "reflect"
    with pytest.raises(SolaError, match="padding must be one of zeros, replicate, reflect, got 'wrap'"):
        SolaConfig(padding="wrap")  # type: ignore[arg-type]


def test_a_constant_video_stays_constant_at_its_ends_unless_zeros_pad_it() -> None:
    still = np.ones((12, C), dtype=np.float32)
    for padding, constant in (("zeros", False), ("replicate", True), ("reflect", True)):
        found = enhance_array(module_of(padding), still)
        assert np.allclose(found, found[6], atol=1e-6) == constant

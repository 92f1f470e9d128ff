"""The module, its gathered computation, and enhancing in blocks."""

import numpy as np
import pytest
import torch

from sola.config import SolaConfig
from sola.enhance import BLOCK_SNIPPETS, enhance, enhance_array
from sola.errors import SolaError
from sola.module import SolaModule, initial_networks
from sola.sparse_forward import GatherPlan, gathered_forward, layer_weights, plan_gather

CHANNELS = 12
SHAPES = [
    (kernels, dilations)
    for kernel in (1, 3, 5, 9)
    for dilation in (1, 2)
    for kernels, dilations in [
        ((kernel, 1, 1), (dilation, 1, 1)),
        ((kernel, 3, 1), (dilation, 2, 1)),
        ((kernel, kernel, kernel), (dilation, dilation, dilation)),
    ]
]


def opened_module(config: SolaConfig, *, seed: int = 0) -> SolaModule:
    """Return a module with an open gate and large biases, so that wrong padding shows."""
    module, _ = initial_networks(CHANNELS, config)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        module.alpha.fill_(1.0)
        for layer in module.convolutions:
            layer.bias.normal_(generator=generator)
    return module.eval()


def features(length: int, *, batch: int = 1, seed: int = 0) -> torch.Tensor:
    return torch.randn(batch, length, CHANNELS, generator=torch.Generator().manual_seed(seed))


def gathered(
    module: SolaModule, rows: torch.Tensor, plan: GatherPlan, *, first: torch.Tensor, end: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    return gathered_forward(layer_weights(module), module.gate(), rows, plan, first=first, end=end)


@pytest.mark.parametrize("length", [1, 2, 5, 22, 23, 200])
def test_an_unfitted_module_is_the_identity_bit_for_bit(length: int) -> None:
    module, _ = initial_networks(CHANNELS, SolaConfig(hidden=8))
    x = features(length, batch=3)
    assert torch.equal(module(x), x)
    assert np.array_equal(enhance_array(module, x[0].numpy()), x[0].numpy())


def test_a_module_with_an_open_gate_is_not_the_identity() -> None:
    module, x = opened_module(SolaConfig(hidden=8)), features(9)
    assert (module(x) - x).abs().max() > 0.1


@pytest.mark.parametrize(("kernels", "dilations"), [((5, 1, 1), (1, 1, 1)), ((3, 5), (2, 3)), ((1,), (1,))])
def test_an_output_depends_on_exactly_the_receptive_radius(
    kernels: tuple[int, ...], dilations: tuple[int, ...]
) -> None:
    module = opened_module(SolaConfig(hidden=8, kernel_sizes=kernels, dilations=dilations))
    x = features(41).requires_grad_()
    module(x)[0, 20].sum().backward()
    touched = torch.nonzero(x.grad[0].abs().sum(dim=1)).flatten()
    assert int(touched.max()) - 20 == 20 - int(touched.min()) == module.receptive_radius
    assert module.receptive_radius == sum(d * (k - 1) // 2 for k, d in zip(kernels, dilations, strict=True))


def test_initial_weights_depend_on_the_seed_only_and_leave_the_global_random_state_alone() -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    one, _ = initial_networks(CHANNELS, SolaConfig(hidden=8, seed=4))
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    two, _ = initial_networks(CHANNELS, SolaConfig(hidden=8, seed=4))
    other, _ = initial_networks(CHANNELS, SolaConfig(hidden=8, seed=5))
    weights = [m.convolutions[0].weight for m in (one, two, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_features_of_another_shape_are_refused_with_the_shape_named() -> None:
    module = opened_module(SolaConfig(hidden=8))
    with pytest.raises(SolaError, match=r"\[2, 0, 12\]"):
        module(torch.zeros(2, 0, CHANNELS))
    with pytest.raises(SolaError, match=r"C = 12.*\[2, 5, 3\]"):
        module(torch.zeros(2, 5, 3))


@pytest.mark.parametrize(("kernels", "dilations"), SHAPES)
@pytest.mark.parametrize("step", [1, 2, 4])
def test_gathered_positions_equal_the_full_window(
    kernels: tuple[int, ...], dilations: tuple[int, ...], step: int
) -> None:
    config = SolaConfig(
        hidden=8, kernel_sizes=kernels, dilations=dilations, position_stride=step, tsm_size=5, padding="zeros"
    )
    module, window = opened_module(config), features(23, batch=4)
    plan = plan_gather(module, config.positions)
    rows = torch.full((4, len(plan.positions[0]), CHANNELS), 1e3)  # outside the window: must not matter
    for row, position in enumerate(plan.positions[0].tolist()):
        if 0 <= position < 23:
            rows[:, row] = window[:, position]
    first, end = torch.zeros(4, dtype=torch.int64), torch.full((4,), 23)
    x, correction = gathered(module, rows, plan, first=first, end=end)
    full = module(window)[:, list(config.positions)]
    assert (x + correction - full).abs().max() < 1e-6 * full.abs().max()


@pytest.mark.parametrize(("kernels", "dilations"), [((5, 1, 1), (1, 1, 1)), ((3, 5, 3), (1, 2, 1))])
@pytest.mark.parametrize("length", [1, 2, 5, 22])
def test_gathered_positions_in_a_short_video_equal_the_module_on_the_whole_video(
    kernels: tuple[int, ...], dilations: tuple[int, ...], length: int
) -> None:
    config = SolaConfig(hidden=8, kernel_sizes=kernels, dilations=dilations, padding="zeros")
    module, video = opened_module(config), features(length)
    whole = module(video)[0].detach()
    plan = plan_gather(module, config.positions)
    compared = 0
    for place in range(23 - length + 1):
        rows = torch.full((1, len(plan.positions[0]), CHANNELS), 1e3)
        for row, position in enumerate(plan.positions[0].tolist()):
            if place <= position < place + length:
                rows[0, row] = video[0, position - place]
        x, correction = gathered(module, rows, plan, first=torch.tensor([place]), end=torch.tensor([place + length]))
        for index, position in enumerate(config.positions):
            if place <= position < place + length:
                output = (x + correction)[0, index].detach()
                assert output.numpy() == pytest.approx(whole[position - place].numpy(), abs=1e-5)
                compared += 1
    assert compared >= 8


def test_the_plan_of_the_default_settings_reads_nineteen_rows_and_computes_eight() -> None:
    config = SolaConfig(hidden=8)
    plan = plan_gather(opened_module(config), config.positions)
    assert [p.tolist() for p in plan.positions] == [list(range(2, 21))] + [list(range(4, 19, 2))] * 3


WIDE = SolaConfig(hidden=8, kernel_sizes=(5, 3, 1), dilations=(1, 2, 1))


@pytest.mark.parametrize("length", [1, 2, 5, 22, BLOCK_SNIPPETS, BLOCK_SNIPPETS + 1, 2 * BLOCK_SNIPPETS + 3])
def test_enhancing_in_blocks_equals_one_forward(length: int) -> None:
    module, x = opened_module(WIDE), features(length)
    with torch.no_grad():
        expected = module(x)[0].numpy()
    assert enhance_array(module, x[0].numpy()) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("chunk", [1, 7, 1000, 1023, 1024, 1025, 1028, 2600])
def test_the_chunks_of_the_input_do_not_change_a_bit(chunk: int) -> None:
    module = opened_module(WIDE)
    x = features(2600)[0].numpy()
    whole = enhance_array(module, x)
    chunks = [x[i : i + chunk] for i in range(0, len(x), chunk)]
    assert np.array_equal(np.concatenate(list(enhance(module, iter(chunks)))), whole)


def test_enhancing_waits_for_a_block_and_its_halo_only() -> None:
    module = opened_module(WIDE)
    given = 0

    def endless() -> object:
        nonlocal given
        while True:
            given += 1
            yield np.ones((100, CHANNELS), np.float32)

    blocks = enhance(module, endless())
    for number in range(1, 4):
        assert len(next(blocks)) == BLOCK_SNIPPETS
        assert given <= (number * BLOCK_SNIPPETS + module.receptive_radius) / 100 + 1


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_enhancing_keeps_the_dtype(dtype: type) -> None:
    x = features(30)[0].numpy().astype(dtype)
    output = enhance_array(opened_module(WIDE), x)
    assert output.dtype == dtype
    assert output.shape == x.shape


def test_enhancing_accepts_empty_chunks_and_gives_nothing_for_nothing() -> None:
    module = opened_module(WIDE)
    x = features(30)[0].numpy()
    chunks = [x[:0], x[:10], x[10:10], x[10:]]
    assert np.array_equal(np.concatenate(list(enhance(module, chunks))), enhance_array(module, x))
    assert list(enhance(module, [])) == []
    with pytest.raises(SolaError, match="at least one snippet"):
        enhance_array(module, x[:0])


def test_enhancing_refuses_other_channels_integers_and_mixed_dtypes() -> None:
    module = opened_module(WIDE)
    with pytest.raises(SolaError, match=r"C = 12.*\[5, 3\]"):
        enhance_array(module, np.zeros((5, 3), np.float32))
    with pytest.raises(SolaError, match="int64"):
        enhance_array(module, np.zeros((5, CHANNELS), np.int64))
    with pytest.raises(SolaError, match="float32 and float16"):
        list(enhance(module, [np.zeros((5, CHANNELS), np.float32), np.zeros((5, CHANNELS), np.float16)]))


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"hidden": 0}, "hidden"),
        ({"kernel_sizes": (4, 1, 1)}, "kernel_sizes"),
        ({"kernel_sizes": (5, 1)}, "2 kernel sizes and 3 dilations"),
        ({"dilations": (0, 1, 1)}, "dilations"),
        ({"tsm_size": 11}, "24"),
        ({"target_sharpness": 0.0}, "target_sharpness must be > 0"),
        ({"target_sharpness": float("nan")}, "target_sharpness must be > 0"),
        ({"weight_decay": -1.0}, "weight_decay"),
        ({"steps": 0}, "steps"),
        ({"first_position": -1}, "first_position"),
        ({"precision": "fp8"}, "auto, fp32, bf16"),
        ({"device": "tpu"}, "auto, cpu, cuda"),
    ],
)
def test_an_option_out_of_range_is_refused_by_name(options: dict, named: str) -> None:
    with pytest.raises(SolaError, match=named):
        SolaConfig(**options)

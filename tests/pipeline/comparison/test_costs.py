"""What steps cost: operations of networks worked by hand, and trained parameters."""

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint
from torch.utils.flop_counter import FlopCounterMode

from encoders.catalog import catalog_entry
from pipeline.comparison.costs import Cost, metered, operations, snippet_operations

# Linear 3 → 5 and 5 → 2 on 7 rows: a multiplication and an addition for each of rows * inputs * outputs.
FIRST, SECOND = 2 * 7 * 3 * 5, 2 * 7 * 5 * 2


def layers() -> tuple[nn.Linear, nn.Linear, torch.Tensor]:
    return nn.Linear(3, 5), nn.Linear(5, 2), torch.ones(7, 3)


def test_a_forward_pass_is_one_pass_with_a_multiplication_and_an_addition_apart():
    first, second, rows = layers()
    with torch.no_grad():
        assert operations(lambda: second(first(rows))) == FIRST + SECOND


def test_a_convolution_is_its_kernel_at_each_output():
    conv = nn.Conv2d(3, 4, kernel_size=3, stride=2)  # 11 x 9 pixels give 5 x 4
    with torch.inference_mode():
        assert operations(lambda: conv(torch.ones(2, 3, 11, 9))) == 2 * 2 * 4 * 5 * 4 * 3 * 3 * 3


def test_a_trained_network_takes_three_passes_and_less_the_gradient_of_its_pixels():
    first, second, rows = layers()
    assert operations(lambda: second(first(rows)).sum().backward()) == 3 * (FIRST + SECOND) - FIRST
    rows.requires_grad_(True)
    assert operations(lambda: second(first(rows)).sum().backward()) == 3 * (FIRST + SECOND)


def test_what_lies_below_a_frozen_stage_takes_one_pass():
    first, second, rows = layers()
    first.requires_grad_(False)
    assert operations(lambda: second(first(rows)).sum().backward()) == FIRST + 3 * SECOND - SECOND


def test_an_encoder_that_runs_again_for_its_gradient_takes_four_passes():
    first, second, rows = layers()
    rows.requires_grad_(True)

    def again() -> None:
        encode = nn.Sequential(first, nn.Tanh())  # its output is needed for its gradient
        second(checkpoint(encode, rows, use_reentrant=False)).sum().backward()

    assert operations(again) == 4 * FIRST + 3 * SECOND


def test_a_snippet_takes_what_torch_counts():
    entry = catalog_entry("tsn_r18")
    spec = entry.spec
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        entry.build().eval()(torch.zeros(spec.num_frames, 3, spec.crop_size, spec.crop_size))
    assert snippet_operations("tsn_r18", "random") == counter.get_total_flops()
    assert snippet_operations("tsn_r18", "random") == pytest.approx(
        2 * 1.81e9 * spec.num_frames, rel=0.01
    )  # published: 1.81 GMAC


def test_counting_changes_no_result():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 2))
    pictures = torch.rand(5, 3, 8, 8)

    def gradient() -> list[torch.Tensor]:
        network.zero_grad()
        network(pictures).square().sum().backward()
        return [p.grad.clone() for p in network.parameters()]

    plain = gradient()
    with metered():
        counted = gradient()
    assert all(torch.equal(one, other) for one, other in zip(plain, counted, strict=True))


def test_trained_parameters_are_those_that_an_optimizer_moves():
    first, second, rows = layers()
    first.requires_grad_(False)
    optimizer = torch.optim.SGD([*first.parameters(), *second.parameters()], lr=0.1)
    with metered() as cost:
        for _ in range(2):
            optimizer.zero_grad()
            second(first(rows)).sum().backward()
            optimizer.step()
    assert cost().parameters == 5 * 2 + 2
    with metered() as cost:
        first(rows)
    assert cost().parameters == 0


def test_costs_in_a_row_add_up_and_peaks_do_not():
    both = Cost(2.0, 10.0, 5, 300, 0).after(Cost(1.0, 4.0, 7, 200, 9))
    assert both == Cost(3.0, 14.0, 7, 300, 9)

"""Convolutions packed for the processor: equal to torch's."""

import copy

import pytest
import torch

from encoders.packed import can_pack, pack_convolutions
from encoders.runtime import fold_batch_norm


def traced(layers: list[torch.nn.Module]) -> torch.fx.GraphModule:
    return torch.fx.symbolic_trace(torch.nn.Sequential(*layers).eval().requires_grad_(False))


class Residual(torch.nn.Module):
    """A convolution, a sum, and maybe a ReLU, as torch.fx sees them after folding."""

    def __init__(self, relu: bool) -> None:
        super().__init__()
        self.first, self.second = torch.nn.Conv3d(4, 4, 1), torch.nn.Conv3d(4, 4, 3, padding=1, bias=False)
        self.relu = torch.nn.ReLU(inplace=True) if relu else torch.nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.second(self.first(x))
        y += x
        return self.relu(y)


@pytest.mark.skipif(not can_pack(), reason="this torch lacks the operators")
@pytest.mark.parametrize("batch", [2, 1, 5])
def test_packed_convolutions_compute_the_same_at_any_batch_size(batch):
    layers = [torch.nn.Conv3d(4, 8, 3, stride=2, padding=1), torch.nn.ReLU(), torch.nn.Conv3d(8, 6, 1, groups=2)]
    plain = traced(layers).to(memory_format=torch.channels_last_3d)
    fast = copy.deepcopy(plain)
    shape = (4, 6, 9, 9)
    with torch.no_grad():
        pack_convolutions(fast, torch.zeros(2, *shape).to(memory_format=torch.channels_last_3d))
        x = torch.randn(batch, *shape).to(memory_format=torch.channels_last_3d)
        torch.testing.assert_close(fast(x), plain(x), rtol=1e-5, atol=1e-5)
    kinds = [type(m).__name__ for m in fast.modules()]
    assert kinds.count("PackedConvolution") == 2 and "Conv3d" not in kinds and "ReLU" not in kinds


@pytest.mark.skipif(not can_pack(), reason="this torch lacks the operators")
@pytest.mark.parametrize("relu", [True, False])
def test_packing_fuses_a_residual_sum_and_leaves_its_input_alone(relu):
    network = Residual(relu).eval().requires_grad_(False)
    fast = torch.fx.symbolic_trace(network)
    x = torch.randn(2, 4, 3, 5, 5).to(memory_format=torch.channels_last_3d)
    before = x.clone()
    with torch.no_grad():
        expected = network(x)
        pack_convolutions(fast, x)
        torch.testing.assert_close(fast(x), expected, rtol=1e-5, atol=1e-5)
    assert torch.equal(x, before)
    assert not any(node.op == "call_function" for node in fast.graph.nodes)


@pytest.mark.skipif(not can_pack(), reason="this torch lacks the operators")
def test_packing_leaves_sums_of_different_shapes_to_torch():
    class Broadcast(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = torch.nn.Conv2d(3, 3, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.conv(x.mean(dim=(2, 3), keepdim=True)) + x

    network = fold_batch_norm(Broadcast().eval().requires_grad_(False))
    fast = copy.deepcopy(network)
    x = torch.randn(2, 3, 5, 5)
    with torch.no_grad():
        pack_convolutions(fast, x)
        torch.testing.assert_close(fast(x), network(x))

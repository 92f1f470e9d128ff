"""Convolutions on a CPU with weights packed once for oneDNN, fused with the sum and ReLU that follow them.

torch.compile does the same with frozen weights, after a minute of compiling; this module calls its operators directly.
They are internal to torch: if they are absent, networks run without them.
"""

from __future__ import annotations

import operator
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.passes.shape_prop import ShapeProp

CONVOLUTIONS = (nn.Conv2d, nn.Conv3d)


class PackedConvolution(nn.Module):
    """relu(convolution(x) + other); the sum and the ReLU are optional."""

    def __init__(self, convolution: nn.Conv2d | nn.Conv3d, *, input_size: torch.Size, relu: bool) -> None:
        super().__init__()
        # torch takes the padding first here, the stride first elsewhere.
        self.geometry = (
            list(convolution.padding),
            list(convolution.stride),
            list(convolution.dilation),
            convolution.groups,
        )
        weight = convolution.weight.detach()
        # An opaque tensor, not a parameter: it can no longer be converted, moved or saved.
        self.weight = torch.ops.mkldnn._reorder_convolution_weight(weight, *self.geometry, list(input_size))
        self.bias = None if convolution.bias is None else convolution.bias.detach()
        self.relu = "relu" if relu else "none"

    def forward(self, x: Tensor, other: Tensor | None = None) -> Tensor:
        """Return the layer's output.

        Args:
            x: the convolution's input, of the shape that the weights were packed for.
            other: added to its output.
        """
        arguments = (self.weight, self.bias, *self.geometry)
        operators = torch.ops.mkldnn._convolution_pointwise
        if other is None:
            return operators(x, *arguments, self.relu, [], "")
        return operators.binary(x, other, *arguments, "add", 1.0, None if self.relu == "none" else "relu", [], "")


def can_pack() -> bool:
    """Return whether this torch has the operators."""
    return torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_convolution_pointwise")


def pack_convolutions(network: fx.GraphModule, inputs: Tensor) -> None:
    """Replace the convolutions of a traced network on the CPU, in place.

    Args:
        network: in the dtype and memory format that it runs in.
        inputs: of the shape, dtype and memory format that it will run on.
    """
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        ShapeProp(network, fake_mode=mode).propagate(mode.from_tensor(inputs))
    modules = dict(network.named_modules())
    for node in list(network.graph.nodes):
        module = modules.get(node.target) if node.op == "call_module" else None
        size = _shape(node.args[0]) if isinstance(module, CONVOLUTIONS) else None
        if size is None or not isinstance(module, CONVOLUTIONS) or isinstance(module.padding, str):
            continue
        last, other = _following_sum(node)
        relu = _only_user(last)
        fused = relu is not None and relu.op == "call_module" and isinstance(modules.get(relu.target), nn.ReLU)
        packed = PackedConvolution(module, input_size=size, relu=fused)
        name = f"packed_{node.name}"
        network.add_submodule(name, packed)
        end = relu if fused and relu is not None else last
        with network.graph.inserting_before(end):
            arguments: tuple[Any, ...] = (node.args[0],) if other is None else (node.args[0], other)
            replacement = network.graph.call_module(name, arguments)
            replacement.meta = dict(end.meta)
        end.replace_all_uses_with(replacement)
        for dead in dict.fromkeys((end, last, node)):
            network.graph.erase_node(dead)
    network.delete_all_unused_submodules()
    network.recompile()


def _only_user(node: fx.Node) -> fx.Node | None:
    """Return the only node that reads `node`; None if there are several or none."""
    return next(iter(node.users)) if len(node.users) == 1 else None


def _following_sum(node: fx.Node) -> tuple[fx.Node, fx.Node | None]:
    """Return the sum of `node`'s output and another node, and that other; or `node` and None."""
    user = _only_user(node)
    if user is None or user.target not in (operator.add, operator.iadd):
        return node, None
    others = [argument for argument in user.args if argument is not node]
    other = others[0] if len(others) == 1 else None
    if not isinstance(other, fx.Node) or _shape(other) != _shape(node):
        return node, None
    return user, other


def _shape(node: fx.Node) -> torch.Size | None:
    """Return the shape of a node's output; None if it is not a tensor."""
    return getattr(node.meta.get("tensor_meta"), "shape", None)

"""The stages of a network from its input to its output: what training freezes first, or trains at another rate."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import nn

from encoders.errors import EncoderError

_STACKS = ("blocks", "stages", "layers")  # names of sequences whose parts are stages


@dataclass(frozen=True)
class Stage:
    """A part of a network; `parameters` may hold some that belong to no module of `modules`."""

    name: str
    modules: tuple[nn.Module, ...]
    parameters: tuple[nn.Parameter, ...]


def stages_of(network: nn.Module) -> list[Stage]:
    """Return the stages that have parameters, in the order of the data; each parameter is in exactly one.

    A residual network has a stem and its layers, a transformer its embedding and its blocks; what projects their output
    comes behind them.
    """
    network = _innermost(network)
    groups: list[tuple[str, list[nn.Module]]] = []
    for name, module in _parts(network):
        # What comes in and its norm are one stage, the stem.
        if len(groups) == 1 and (_is_norm(module) or (_is_leaf(module) and _is_leaf(groups[0][1][0]))):
            groups[0][1].append(module)
        else:
            groups.append((name, [module]))
    held = {id(parameter) for _, modules in groups for module in modules for parameter in module.parameters()}
    own = [parameter for parameter in network.parameters() if id(parameter) not in held]  # such as positions
    stages: list[Stage] = []
    seen: set[int] = set()
    for place, (name, modules) in enumerate(groups):
        new = [p for module in modules for p in module.parameters() if id(p) not in seen]
        seen |= {id(parameter) for parameter in new}
        stages.append(Stage(name, tuple(modules), tuple([*own, *new] if place == 0 else new)))
    return stages or [Stage("network", (network,), tuple(own))]


def freeze_stages(network: nn.Module, count: int) -> list[nn.Module]:
    """Take the gradient from the first `count` stages, and return their modules, which must stay in evaluation mode.

    Raises:
        EncoderError: the network has no stage left to train.
    """
    stages = stages_of(network)
    if not 0 <= count < len(stages):
        raise EncoderError(
            f"frozen_stages must be between 0 and {len(stages) - 1}, for the network has {len(stages)} stages "
            f"({', '.join(stage.name for stage in stages)}), got {count}"
        )
    frozen = stages[:count]
    for stage in frozen:
        for parameter in stage.parameters:
            parameter.requires_grad_(False)
    return [module for stage in frozen for module in stage.modules]


def _innermost(network: nn.Module) -> nn.Module:
    """Return the network inside wrappers that have no parameters of their own."""
    children = _with_parameters(network)
    if len(children) == 1 and not list(network.parameters(recurse=False)) and not _is_sequence(children[0][1]):
        return _innermost(children[0][1])
    return network


def _parts(network: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    for name, module in _with_parameters(network):
        inner = _with_parameters(module)
        if _is_sequence(module) or name in _STACKS:
            yield from ((f"{name}.{place}", part) for place, part in inner)
        elif _is_stack(module):
            yield from ((f"{name}.{place}", part) for place, part in _with_parameters(inner[0][1]))
        elif any(_is_stack(part) for _, part in inner):  # a transformer beside what projects its output
            yield from ((f"{name}.{place}", part) for place, part in _parts(module))
        else:
            yield name, module


def _with_parameters(module: nn.Module) -> list[tuple[str, nn.Module]]:
    return [(name, child) for name, child in module.named_children() if next(child.parameters(), None) is not None]


def _is_sequence(module: nn.Module) -> bool:
    return isinstance(module, (nn.ModuleList, nn.ModuleDict))


def _is_stack(module: nn.Module) -> bool:
    """Return whether a module is nothing but a sequence of layers, as the encoder of a transformer."""
    inner = _with_parameters(module)
    return len(inner) == 1 and _is_sequence(inner[0][1])


def _is_norm(module: nn.Module) -> bool:
    return "Norm" in type(module).__name__


def _is_leaf(module: nn.Module) -> bool:
    return next(module.children(), None) is None

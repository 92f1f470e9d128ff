"""Checkpoints in the format of the method's authors: a state dict of `conv_network.*` and `alpha`.

Source: github.com/musicalOffering/sola at bf88bb2.
"""

import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sola.config import SolaConfig
from sola.errors import SolaError
from sola.files import fill_weights, write_atomically
from sola.module import SolaModule

_WEIGHT = re.compile(r"conv_network\.(\d+)\.weight")
_OURS = re.compile(r"(?:.*\.)?(conv_network\.\d+\.(?:weight|bias)|alpha)")


def is_safetensors(path: Path) -> bool:
    """Return whether a file begins as a safetensors file does: eight bytes of length, then JSON."""
    with path.open("rb") as file:
        return file.read(9)[8:] == b"{"


def load_reference(path: Path, *, dilations: tuple[int, ...] | None = None) -> tuple[SolaModule, SolaConfig]:
    """Return the module of a reference checkpoint, and the published settings with its widths and kernel sizes.

    Args:
        path: the file.
        dilations: of its convolutions, which the file does not hold; all 1 if None.

    Raises:
        SolaError: the file is absent, unreadable, or not of this form.
    """
    weights = _state_dict(_read(path), path)
    layers = sorted((int(match[1]), weights[name]) for name in weights if (match := _WEIGHT.fullmatch(name)))
    if not layers or any(weight.ndim != 3 for _, weight in layers):
        found = ", ".join(f"{name} {list(weight.shape)}" for name, weight in sorted(weights.items())[:8])
        raise SolaError(
            f"{path} is not a reference checkpoint: it should hold conv_network.0.weight [out, in, kernel] and so on, "
            f"and alpha, but holds {found or 'no tensors'}"
        )
    _check_values(path, weights)
    kernel_sizes = tuple(weight.shape[2] for _, weight in layers)
    first = layers[0][1]
    try:
        config = SolaConfig(
            hidden=first.shape[0],
            kernel_sizes=kernel_sizes,
            dilations=(1,) * len(kernel_sizes) if dilations is None else dilations,
            padding="zeros",
        )
    except SolaError as error:
        raise SolaError(f"{path}: {error}") from None
    module = SolaModule(first.shape[1], config)
    if "alpha" in weights and weights["alpha"].numel() == 1:
        weights["alpha"] = weights["alpha"].reshape(())
    fill_weights(module, weights, where=str(path))
    return module.eval(), config


def check_reference(kernel_sizes: Sequence[int], dilations: Sequence[int]) -> None:
    """Raise SolaError unless the authors' network can hold such a module.

    It has three convolutions, the last one of kernel size 1.
    """
    if len(kernel_sizes) != 3 or (kernel_sizes[-1], dilations[-1]) != (1, 1):
        raise SolaError(
            "the reference's form has three convolutions, the last one of kernel size 1; this module has kernel_sizes "
            f"{' '.join(map(str, kernel_sizes))}, dilations {' '.join(map(str, dilations))}"
        )


def save_reference(path: Path, module: SolaModule) -> dict[str, int]:
    """Write the module in the reference's form, and return the settings of the authors' YAML file that go with it.

    Raises:
        SolaError: the authors' network cannot hold it.
    """
    layers = module.convolutions
    kernel_sizes, dilations = [layer.kernel_size[0] for layer in layers], [layer.dilation[0] for layer in layers]
    check_reference(kernel_sizes, dilations)
    weights = {name: tensor.detach().float().cpu().contiguous() for name, tensor in module.state_dict().items()}
    weights["alpha"] = weights["alpha"].reshape(1)

    def write(temporary: Path) -> None:
        with temporary.open("wb") as file:  # given a path, torch writes its name into the file
            torch.save(weights, file)

    write_atomically(path, write)
    return {
        "out_feature_dim": module.channels,
        "network_hidden_unit": layers[0].out_channels,
        "kernel_size1": kernel_sizes[0],
        "dilation1": dilations[0],
        "kernel_size2": kernel_sizes[1],
        "dilation2": dilations[1],
    }


def _read(path: Path) -> Any:
    if not path.is_file():
        raise SolaError(f"there is no checkpoint {path}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of unusual files, which are refused below in our own words
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch's unpickler and zip reader raise many types
        named = re.search(r"GLOBAL ([\w.]+)", str(error))
        with path.open("rb") as file:
            start = file.read(8)
        found = f"it holds {named[1]}, and only tensors are read" if named else f"it begins with {start!r}"
        raise SolaError(f"{path} is not a readable checkpoint: {found}") from error


def _state_dict(content: Any, path: Path) -> dict[str, Tensor]:
    """Return the module's tensors by name, without what a checkpoint may wrap around them."""
    if not isinstance(content, Mapping):
        raise SolaError(f"{path} is not a state dict but a {type(content).__name__}")
    tensors = [{str(k): v for k, v in values.items() if isinstance(v, Tensor)} for values in _mappings(content, 4)]
    for values in tensors:
        if any(_WEIGHT.search(name) for name in values):
            # A wrapped module has "module." or the like before every name.
            return {match[1] if (match := _OURS.fullmatch(name)) else name: value for name, value in values.items()}
    return tensors[0]


def _mappings(content: Mapping[Any, Any], levels: int) -> Iterator[Mapping[Any, Any]]:
    """Yield the mapping and those in it, down to some levels."""
    yield content
    for value in content.values() if levels else ():
        if isinstance(value, Mapping):
            yield from _mappings(value, levels - 1)


def _check_values(path: Path, weights: Mapping[str, Tensor]) -> None:
    """Raise SolaError unless the weights are finite numbers that the file can hold."""
    for name, weight in weights.items():
        if not weight.is_floating_point() or weight.layout != torch.strided or weight.is_meta:
            raise SolaError(f"{path}: {name} must be of floating-point numbers, it is of {weight.dtype}")
    if sum(weight.numel() * weight.element_size() for weight in weights.values()) > path.stat().st_size:
        raise SolaError(f"{path} claims more weights than it holds")
    for name, weight in weights.items():
        if not torch.isfinite(weight).all():
            raise SolaError(f"{path}: {name} has values that are not finite")

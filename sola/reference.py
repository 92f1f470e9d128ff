"""The form in which the method's authors save a fitted module: a state dict of `conv_network.*` and `alpha`.

Source: github.com/musicalOffering/sola at bf88bb2.
"""

import re
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sola.config import SolaConfig
from sola.errors import SolaError
from sola.files import fill_weights, write_atomically
from sola.module import SolaModule

_WEIGHT = re.compile(r"conv_network\.(\d+)\.weight")


def load_reference(path: Path, *, dilations: tuple[int, ...] | None = None) -> tuple[SolaModule, SolaConfig]:
    """The module of a reference checkpoint, and the defaults with its widths and kernel sizes.

    Args:
        path: the file.
        dilations: of its convolutions, which the file does not tell; all 1 when None.

    Raises:
        SolaError: the file is absent, unreadable, or not of this form.
    """
    weights = _read(path)
    layers = sorted(
        (int(match[1]), weights[match[0]]) for match in map(_WEIGHT.fullmatch, weights) if match is not None
    )
    if not layers or any(weight.ndim != 3 for _, weight in layers):
        raise SolaError(
            f"{path} is not a reference checkpoint: it should hold conv_network.0.weight [out, in, kernel] and so on, "
            f"but holds {', '.join(sorted(weights)[:8])}"
        )
    kernel_sizes = tuple(weight.shape[2] for _, weight in layers)
    first = layers[0][1]
    config = SolaConfig(
        hidden=first.shape[0],
        kernel_sizes=kernel_sizes,
        dilations=(1,) * len(kernel_sizes) if dilations is None else dilations,
    )
    module = SolaModule(first.shape[1], config)
    if "alpha" in weights and weights["alpha"].numel() == 1:
        weights["alpha"] = weights["alpha"].reshape(())
    fill_weights(module, weights, where=str(path))
    return module.eval(), config


def save_reference(path: Path, module: SolaModule) -> None:
    """Writes the module in the reference's form, which knows neither settings nor dilations.

    Raises:
        SolaError: the module's gate is not tanh(alpha), which that form takes for granted.
    """
    if module.gate_form != "tanh":
        raise SolaError(f"the reference's form knows only the gate tanh, this module has {module.gate_form}")
    weights = {name: tensor.detach().float().cpu() for name, tensor in module.state_dict().items()}
    weights["alpha"] = weights["alpha"].reshape(1)
    write_atomically(path, lambda temporary: torch.save(weights, temporary))


def _read(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise SolaError(f"there is no checkpoint {path}")
    try:
        content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises whatever its unpickler and zip reader meet
        raise SolaError(f"{path} is not a readable checkpoint: {error}") from error
    if not isinstance(content, dict):
        raise SolaError(f"{path} is not a state dict but a {type(content).__name__}")
    return {str(name): value for name, value in content.items() if isinstance(value, Tensor)}

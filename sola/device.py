"""The device and the arithmetic that "auto" means on this machine."""

import torch
from torch import Tensor

from sola.config import Precision
from sola.errors import SolaError


def resolve_device(device: str) -> torch.device:
    """Return the torch device.

    Raises:
        SolaError: cuda is requested but absent.
    """
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise SolaError(f"device {device} is not available: torch sees no CUDA device; use device cpu or auto")
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(device)


def resolve_precision(precision: Precision, device: torch.device) -> torch.dtype:
    """Return the dtype of the matrix products: bfloat16 for bf16, and for auto if the hardware has it."""
    if precision == "bf16" or (precision == "auto" and _has_bf16(device)):
        return torch.bfloat16
    return torch.float32


def sent(values: Tensor, device: torch.device) -> Tensor:
    """Return the values on a device; from the CPU they get to a GPU without waiting for it."""
    if device.type == "cuda" and values.device.type == "cpu":
        values = values.pin_memory()
    return values.to(device, non_blocking=True)


def chosen_rows(values: Tensor, mask: Tensor) -> Tensor:
    """Return `values[mask]`, on the device of the values, without waiting for it if the mask is on the CPU.

    Args:
        values: [..., *] with the dimensions of the mask first.
        mask: bool.
    """
    places = mask.flatten().nonzero()[:, 0]
    return values.flatten(0, mask.ndim - 1)[sent(places, values.device)]


def _has_bf16(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    # Without the instructions a CPU emulates bf16, several times slower than fp32.
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())

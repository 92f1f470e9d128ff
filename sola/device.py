"""The device and the arithmetic that "auto" means on this machine."""

import torch

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


def _has_bf16(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    # Without the instructions a CPU emulates bf16, several times slower than fp32.
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())

"""Count what would make the processor wait for a GPU, without one: the meta device takes its place."""

from __future__ import annotations

from collections import Counter

import torch
from torch.utils._python_dispatch import TorchDispatchMode

META = torch.device("meta")


class Waits(TorchDispatchMode):
    """Count blocking copies to the device, and looks at its values.

    A tensor of the meta device has no values, so `.item()`, `.cpu()`, masks and code that depends on a value raise
    errors by themselves; they are counted too, in `calls`, with the first line of what torch says.
    """

    def __init__(self) -> None:
        super().__init__()
        self.calls: Counter[str] = Counter()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        name = function.overloadpacket.__name__
        if name in ("_to_copy", "copy_"):
            source = args[1] if name == "copy_" else args[0]
            target = args[0].device if name == "copy_" else torch.device(kwargs.get("device") or source.device)
            blocking = not (kwargs.get("non_blocking") or (name == "copy_" and len(args) > 2 and args[2]))
            if source.device != target and blocking:
                self.calls["blocking copy"] += 1
        return function(*args, **kwargs)

"""Batches on their way through a GPU: sent on a stream of their own while the one before is computed; nothing waits."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


class GpuQueue:
    """Send batches to one GPU, queues the network there, and fetches the features.

    Main memory for transfers is pinned and comes from torch's own pool, which gives it out again only when its
    transfer is done: two batches or so are in use by turns.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._uploads = torch.cuda.Stream(device)

    def begin(self, network: Callable[[Tensor], Tensor], snippets: Tensor) -> Callable[[], Tensor]:
        """Queue one forward pass and returns at once; what it returns waits for the features [B, C] and gives them.

        Args:
            network: on the device.
            snippets: on the CPU; pinned ones are not copied once more.
        """
        work = torch.cuda.current_stream(self._device)
        # Shapes are fixed, so that searching for the fastest kernels pays; without TF32 fp32 means fp32.
        with (
            torch.inference_mode(),
            torch.backends.cudnn.flags(enabled=True, benchmark=True, allow_tf32=False),
        ):
            here = snippets.contiguous().pin_memory()
            with torch.cuda.stream(self._uploads):
                there = here.to(self._device, non_blocking=True)
            work.wait_stream(self._uploads)
            there.record_stream(work)  # else the next batch could take its memory while the network reads it
            features = network(there)
            fetched = torch.empty(features.shape, dtype=features.dtype, pin_memory=True)
            fetched.copy_(features, non_blocking=True)
            done = work.record_event()

        def wait() -> Tensor:
            done.synchronize()
            return fetched

        return wait

"""A queue of batches on a GPU: each is sent on a stream of its own while the one before is computed."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


class GpuQueue:
    """Transfers of batches to one GPU, its queued forward passes, and transfers of features back.

    Transfers use pinned memory from torch's own pool, which reuses it only after the transfer is done. So about two
    batches are in use at a time.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._uploads = torch.cuda.Stream(device)

    def begin(self, network: Callable[[Tensor], Tensor], snippets: Tensor) -> Callable[[], Tensor]:
        """Queue one forward pass, and return at once a function that waits for the features [B, C] and returns them.

        Args:
            network: on the device.
            snippets: on the CPU; pinned ones are not copied again.
        """
        work = torch.cuda.current_stream(self._device)
        # Shapes are fixed, so searching for the fastest kernels pays off; without TF32, fp32 is real fp32.
        with (
            torch.inference_mode(),
            torch.backends.cudnn.flags(enabled=True, benchmark=True, allow_tf32=False),
        ):
            here = snippets.contiguous().pin_memory()
            with torch.cuda.stream(self._uploads):
                there = here.to(self._device, non_blocking=True)
            work.wait_stream(self._uploads)
            there.record_stream(work)  # otherwise the next batch could reuse its memory while the network reads it
            features = network(there)
            fetched = torch.empty(features.shape, dtype=features.dtype, pin_memory=True)
            fetched.copy_(features, non_blocking=True)
            done = work.record_event()

        def wait() -> Tensor:
            done.synchronize()
            return fetched

        return wait

"""A queue of batches on a GPU: each is sent on a stream of its own while the one before is computed."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from encoders.frame_batch import FrameBatch


class GpuQueue:
    """Transfers of batches to one GPU, its queued forward passes, and transfers of features back.

    Transfers use pinned memory from torch's own pool, which reuses it only after the transfer is done. So about two
    batches are in use at a time.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._uploads = torch.cuda.Stream(device)

    def begin(self, network: Callable[[Tensor], Tensor], snippets: Tensor | FrameBatch) -> Callable[[], Tensor]:
        """Queue one forward pass, and return at once a function that waits for the features [B, C] and returns them.

        Args:
            network: on the device.
            snippets: on the CPU; pinned ones are not copied again. Frames that snippets share are sent once.
        """
        work = torch.cuda.current_stream(self._device)
        # Shapes are fixed, so searching for the fastest kernels pays off; without TF32, fp32 is real fp32.
        with (
            torch.inference_mode(),
            torch.backends.cudnn.flags(enabled=True, benchmark=True, allow_tf32=False),
        ):
            shared = isinstance(snippets, FrameBatch)
            parts = (snippets.frames, snippets.places) if isinstance(snippets, FrameBatch) else (snippets,)
            here = [part.contiguous().pin_memory() for part in parts]
            with torch.cuda.stream(self._uploads):
                there = [part.to(self._device, non_blocking=True) for part in here]
            work.wait_stream(self._uploads)
            for part in there:  # otherwise the next batch could reuse its memory while the network reads it
                part.record_stream(work)
            features = network(FrameBatch(*there).snippets() if shared else there[0])
            fetched = torch.empty(features.shape, dtype=features.dtype, pin_memory=True)
            fetched.copy_(features, non_blocking=True)
            done = work.record_event()

        def wait() -> Tensor:
            done.synchronize()
            return fetched

        return wait

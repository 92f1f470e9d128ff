"""Run a fitted module over feature sequences of any length, in memory that does not depend on the length."""

from collections import deque
from collections.abc import Iterable, Iterator

import numpy as np
import torch

from sola.config import Precision
from sola.device import resolve_precision
from sola.errors import SolaError
from sola.module import SolaModule
from sola.padding import rows_beyond_ends
from sola.sparse_forward import GatherPlan, gathered_forward, layer_weights, plan_gather

BLOCK_SNIPPETS = 1024


def enhance(module: SolaModule, chunks: Iterable[np.ndarray], *, precision: Precision = "fp32") -> Iterator[np.ndarray]:
    """Yield the enhanced sequence [T, C] of one video in blocks of 1024 rows (the last shorter), in the input's dtype.

    Each block depends on the sequence alone: any chunking of the same rows gives the same bits. The module computes
    on its own device.

    Args:
        module: a fitted module.
        chunks: the sequence in consecutive pieces [any number of rows, C], float16, float32 or float64.
        precision: of the matrix products; bf16 rounds the correction to three digits, never the input itself.

    Raises:
        SolaError: a chunk has another number of channels, or another dtype than the one before.
    """
    reader = _RowBuffer(module.channels)
    radius = module.receptive_radius
    start = 0
    block = _BlockEnhancer(module, precision)
    for chunk in chunks:
        reader.append(chunk)
        # A block is ready once its right halo has arrived.
        while reader.end >= start + BLOCK_SNIPPETS + radius:
            yield block.enhance(reader, start, BLOCK_SNIPPETS)
            start += BLOCK_SNIPPETS
            reader.forget_before(start - radius)
    while start < reader.end:
        size = min(BLOCK_SNIPPETS, reader.end - start)
        yield block.enhance(reader, start, size)
        start += size


def enhance_array(module: SolaModule, features: np.ndarray, *, precision: Precision = "fp32") -> np.ndarray:
    """Return the enhanced features [T, C] of one video, in the input's dtype.

    Raises:
        SolaError: the features are not [T >= 1, C] floats with the module's channels.
    """
    blocks = list(enhance(module, [features], precision=precision))
    if not blocks:
        raise SolaError("features must have at least one snippet, got none")
    return np.concatenate(blocks)


class _BlockEnhancer:
    """The module with its weights converted once, for the blocks of a sequence."""

    def __init__(self, module: SolaModule, precision: Precision) -> None:
        self.module = module
        self.device = module.alpha.device
        compute_dtype = resolve_precision(precision, self.device)
        with torch.inference_mode():
            self.weights = layer_weights(module, torch.bfloat16 if compute_dtype == torch.bfloat16 else None)
            self.gate = module.gate()
        self._plans: dict[int, GatherPlan] = {}

    def enhance(self, reader: "_RowBuffer", start: int, size: int) -> np.ndarray:
        radius = self.module.receptive_radius
        if size not in self._plans:
            self._plans[size] = plan_gather(self.module, range(size)).to(self.device)
        # Always the same shape, padded beyond the sequence: the result cannot depend on the chunks so far. A block that
        # is ready before the sequence has ended has its right halo, so `reader.end` is then no end of the sequence.
        shown = rows_beyond_ends(np.arange(start - radius, start + size + radius), reader.end, self.module.padding)
        first, end = int(shown.min()), int(shown.max()) + 1
        given = torch.from_numpy(reader.rows(first, end)).to(self.module.alpha.dtype)
        rows = given[torch.from_numpy(shown - first)][None]
        with torch.inference_mode():
            x, correction = gathered_forward(
                self.weights,
                self.gate,
                rows.to(self.device),
                self._plans[size],
                first=torch.tensor([-start]),
                end=torch.tensor([reader.end - start]),
            )
            output: np.ndarray = (x + correction)[0].cpu().numpy()
        return output.astype(reader.dtype, copy=False)


class _RowBuffer:
    """The rows of a sequence that are still needed, indexed by their position in the sequence."""

    def __init__(self, channels: int) -> None:
        self.channels = channels
        self.dtype: np.dtype | None = None
        self.begin = 0
        self.end = 0
        self._chunks: deque[np.ndarray] = deque()

    def append(self, chunk: np.ndarray) -> None:
        if chunk.ndim != 2 or chunk.shape[1] != self.channels:
            raise SolaError(f"features must be [T, C = {self.channels}], got {list(chunk.shape)}")
        if not np.issubdtype(chunk.dtype, np.floating):
            raise SolaError(f"features must be floats, got {chunk.dtype}")
        if self.dtype not in (None, chunk.dtype):
            raise SolaError(f"all chunks of a sequence must have one dtype, got {self.dtype} and {chunk.dtype}")
        self.dtype = chunk.dtype
        if len(chunk):
            self._chunks.append(chunk)
            self.end += len(chunk)

    def forget_before(self, row: int) -> None:
        while self._chunks and self.begin + len(self._chunks[0]) <= row:
            self.begin += len(self._chunks.popleft())

    def rows(self, start: int, stop: int) -> np.ndarray:
        parts, begin = [], self.begin
        for chunk in self._chunks:
            low, high = max(start - begin, 0), min(stop - begin, len(chunk))
            if low < high:
                parts.append(chunk[low:high])
            begin += len(chunk)
        return np.concatenate(parts)

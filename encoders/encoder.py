"""The frozen encoder: snippets of bytes in, features out."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from encoders.catalog import catalog_entry
from encoders.entry import CatalogEntry
from encoders.errors import EncoderError
from encoders.frame_batch import FrameBatch
from encoders.loading import load_network
from encoders.prepare import Forward, at_precision, compiled, fold, gpu_batch_size, packed, run
from encoders.queue import GpuQueue
from encoders.runtime import SnippetNetwork, candidate_precision, resolve_device
from encoders.spec import EncoderSpec
from encoders.weights import WeightsInfo

# Large enough to fill two cores with clips of eight frames; more only costs memory.
CPU_BATCH_SIZE = 2


@dataclass(kw_only=True, eq=False)
class Encoder:
    """A frozen network with the preprocessing that belongs to it; made by `load_encoder`.

    Args:
        network: from bytes to features, as it runs on the device.
        spec: the format of its input and output.
        weights: its weights.
        device: its device.
        precision: "fp32", "bf16" or "fp16", as resolved.
        batch_size: B of every forward pass; smaller batches are padded with zeros.
        notes: remarks for the user on how it runs, e.g. that it fell back to fp32.
    """

    network: Forward = field(repr=False)
    spec: EncoderSpec
    weights: WeightsInfo
    device: torch.device
    precision: str
    batch_size: int
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self._queue = GpuQueue(self.device) if self.device.type == "cuda" else None

    def encode(self, snippets: Tensor | FrameBatch) -> Tensor:
        """Return the features float32 [B, C] of B snippets, on the CPU.

        A snippet's features do not depend on the others in its batch: every forward pass has the same shape.

        Args:
            snippets: frames, scaled and cropped, uint8 [B, F * L, H, W, channels], usually RGB; any B, also 0. On a
                GPU a `FrameBatch` sends frames that snippets share only once.

        Raises:
            EncoderError: the shape or dtype is another.
        """
        return self.begin(snippets)()

    def begin(self, snippets: Tensor | FrameBatch) -> Callable[[], Tensor]:
        """Start `encode`, and return a function that waits for the features and returns them.

        On a GPU the batches are queued, and those of the next call are sent while these are computed; on a CPU the work
        is done before this returns.

        Raises:
            EncoderError: the shape or dtype is another.
        """
        expected = self.spec.snippet_shape
        if snippets.dtype != torch.uint8 or tuple(snippets.shape[1:]) != expected:
            raise EncoderError(
                f"snippets for {self.spec.name} must be uint8 [B, {', '.join(map(str, expected))}], got "
                f"{str(snippets.dtype).removeprefix('torch.')} {list(snippets.shape)}"
            )
        features = torch.zeros((len(snippets), self.spec.feature_dim))
        queued: deque[tuple[int, int, int, Callable[[], Tensor]]] = deque()
        done = 0
        while done < len(snippets):
            end = min(done + self.batch_size, len(snippets))
            part = snippets.part(done, end) if isinstance(snippets, FrameBatch) else snippets[done:end]
            try:
                queued.append((done, len(part), self.batch_size, self._forward(part)))
                done += len(part)
            except torch.OutOfMemoryError as error:
                self._halve_batch(error)
            if len(queued) > 1:  # bounds memory for any number of snippets
                self._fetch(queued.popleft(), features)

        def finish() -> Tensor:
            while queued:
                self._fetch(queued.popleft(), features)
            return features

        return finish

    def _fetch(self, part: tuple[int, int, int, Callable[[], Tensor]], features: Tensor) -> None:
        """Wait for the forward pass of `count` snippets, padded to `size`, and store their features."""
        first, count, size, wait = part
        found = wait()
        if found.shape != (size, self.spec.feature_dim):
            raise EncoderError(
                f"{self.spec.name} gave features of shape {list(found.shape)}, its spec says "
                f"[{size}, {self.spec.feature_dim}]: correct feature_dim or the network"
            )
        features[first : first + count] = found[:count]

    def _halve_batch(self, error: torch.OutOfMemoryError) -> None:
        """Halve the batch size; raise EncoderError if it is one snippet already."""
        if self.batch_size == 1:
            raise EncoderError(f"{self.spec.name} does not fit into the memory of {self.device}") from error
        self.batch_size //= 2
        self.notes += (f"out of memory: batch size is now {self.batch_size}",)
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def _forward(self, snippets: Tensor | FrameBatch) -> Callable[[], Tensor]:
        """Start one forward pass of at most `batch_size` snippets, padded to `batch_size`."""
        missing = self.batch_size - len(snippets)
        if isinstance(snippets, FrameBatch):
            snippets = snippets.padded(self.batch_size)
        elif missing:
            padding = snippets.new_zeros((missing, *snippets.shape[1:]))
            snippets = torch.cat([snippets, padding])
        if self._queue is not None:
            return self._queue.begin(self.network, snippets)
        features = run(self.network, snippets, self.device)
        return lambda: features


def load_encoder(
    name: str | CatalogEntry,
    *,
    pool: str | None = None,
    weights: str = "kinetics400",
    seed: int = 0,
    device: str = "auto",
    precision: str = "auto",
    batch_size: int | None = None,
    weights_sha256: str | None = None,
    compile: bool = False,
) -> Encoder:
    """Return an encoder with its weights, ready to run.

    Args:
        name: a name in `CATALOG`, path/to/file.py:name for a custom network (see `encoders.own`), hf:… (see
            `encoders.huggingface`) or timm:… (see `encoders.timm_models`); or an entry that need not be in the catalog.
        pool: how tokens become one vector, for hf:… and timm:…; None: the network's own way.
        weights: a published name (e.g. "kinetics400"), a file, or "random".
        seed: of random weights.
        device: "auto", "cpu", "cuda" or "cuda:N".
        precision: "auto" (the fastest that agrees with fp32), "fp32", "bf16" or "fp16".
        batch_size: snippets in one forward pass; None chooses by device.
        weights_sha256: reject weights with another SHA-256.
        compile: fuse the network with torch.compile; takes about a minute once, which pays off in long jobs.

    Raises:
        EncoderError: the name is unknown, weights are absent or do not fit, a device or precision is unavailable, or a
            forced precision does not agree with fp32.
    """
    entry = name if isinstance(name, CatalogEntry) else catalog_entry(name, pool=pool, weights=weights)
    if batch_size is not None and batch_size < 1:
        raise EncoderError(f"batch_size must be >= 1, got {batch_size}")
    target = resolve_device(device)
    candidate = candidate_precision(precision, target)
    network, spec, info = load_network(entry, weights=weights, seed=seed)
    if weights_sha256 is not None and info.sha256 != weights_sha256:
        raise EncoderError(
            f"weights {info.name} of {spec.name} have SHA-256 {info.sha256}, but {weights_sha256} is required; "
            "give the weights that it was made with"
        )
    folded, notes = fold(network)
    checked, resolved, more = at_precision(folded, spec, target, candidate=candidate, forced=precision != "auto")
    notes += more
    size = batch_size or (gpu_batch_size(checked, spec, target) if target.type == "cuda" else CPU_BATCH_SIZE)
    runs, more = _for_device(checked, spec, target, batch_size=size, compile=compile)
    return Encoder(
        network=runs,
        spec=spec,
        weights=info,
        device=target,
        precision=resolved,
        batch_size=size,
        notes=notes + more,
    )


def _for_device(
    network: SnippetNetwork, spec: EncoderSpec, device: torch.device, *, batch_size: int, compile: bool
) -> tuple[Forward, tuple[str, ...]]:
    if compile:
        return compiled(network, spec, device, batch_size=batch_size)
    if device.type == "cpu":
        return packed(network, spec, batch_size=batch_size)
    return network, ()

"""Prepare the plain network to run: fold it, choose its precision, check it, compile it on request."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable

import torch
from torch import Tensor, fx, nn

from encoders.errors import EncoderError
from encoders.frame_batch import FrameBatch
from encoders.packed import can_pack, pack_convolutions
from encoders.queue import GpuQueue
from encoders.runtime import (
    BATCH_NORMS,
    CHECK_SNIPPETS,
    DTYPES,
    MIN_COSINE,
    SnippetNetwork,
    fold_batch_norm,
    lowest_cosine,
    synthetic_snippets,
)
from encoders.spec import EncoderSpec

Forward = Callable[[Tensor], Tensor]

MOST_SNIPPETS = 64  # in a batch; a larger one is not faster on any GPU


def run(network: Forward, snippets: Tensor | FrameBatch, device: torch.device) -> Tensor:
    """Return the features float32 [B, C] of one forward pass, on the CPU."""
    if device.type == "cuda":
        return GpuQueue(device).begin(network, snippets)()
    with torch.inference_mode():
        return network(snippets.snippets() if isinstance(snippets, FrameBatch) else snippets.contiguous())


def fold(network: nn.Module) -> tuple[nn.Module, tuple[str, ...]]:
    """Return the folded network, or the network itself with a note if it cannot be traced."""
    if not any(isinstance(module, BATCH_NORMS) for module in network.modules()):
        return network, ()
    try:
        return fold_batch_norm(network), ()
    except EncoderError as error:
        return network, (f"runs without folded batch norm: {error}",)


def at_precision(
    network: nn.Module, spec: EncoderSpec, device: torch.device, *, candidate: str, forced: bool
) -> tuple[SnippetNetwork, str, tuple[str, ...]]:
    """Return the network ready to run, its precision, and notes; another precision than fp32 is checked against it."""
    exact = SnippetNetwork(copy.deepcopy(network), spec, torch.float32).eval().to(device)
    if candidate == "fp32":
        return exact, "fp32", ()
    fast = SnippetNetwork(network, spec, DTYPES[candidate]).eval().to(device)
    snippets = synthetic_snippets(spec, CHECK_SNIPPETS)
    cosine = lowest_cosine(run(fast, snippets, device), run(exact, snippets, device))
    if cosine >= MIN_COSINE:
        return fast, candidate, ()
    finding = (
        f"features of {spec.name} in {candidate} have cosine {cosine:.5f} with fp32, at least {MIN_COSINE} is needed"
    )
    if forced:
        raise EncoderError(f"{finding}; use precision auto or fp32")
    return exact, "fp32", (f"fell back to fp32: {finding}",)


def gpu_batch_size(network: SnippetNetwork, spec: EncoderSpec, device: torch.device) -> int:
    """Return the batch size for a GPU, from the memory that two snippets take; equal for all runs on one card."""
    snippets = synthetic_snippets(spec, 2)
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    run(network, snippets, device)
    used = torch.cuda.max_memory_allocated(device) - before
    return batch_that_fits(used // 2, torch.cuda.get_device_properties(device).total_memory)


def batch_that_fits(bytes_a_snippet: int, total_bytes: int) -> int:
    """Return the largest power of two, at most `MOST_SNIPPETS`, of snippets that take a third of the memory or less.

    The rest is for the network, other processes and the workspace of convolutions. If that is still too little, the
    encoder halves its batch.
    """
    batch = MOST_SNIPPETS
    while batch > 1 and batch * bytes_a_snippet > total_bytes // 3:
        batch //= 2
    return batch


def packed(network: SnippetNetwork, spec: EncoderSpec, *, batch_size: int) -> tuple[SnippetNetwork, tuple[str, ...]]:
    """Return the network with its convolutions packed for this CPU, or unchanged with a note if that fails.

    Args:
        network: on the CPU.
        spec: the encoder's.
        batch_size: B of its forward passes.
    """
    fast = copy.deepcopy(network)
    if not isinstance(fast.network, fx.GraphModule) or not can_pack():
        return network, ()
    snippets = synthetic_snippets(spec, CHECK_SNIPPETS)
    shape = (batch_size, *spec.snippet_shape)
    cpu = torch.device("cpu")
    try:
        pack_convolutions(fast.network, network.normalized(torch.zeros(shape, dtype=torch.uint8)))
        cosine = lowest_cosine(run(fast, snippets, cpu), run(network, snippets, cpu))
    except (RuntimeError, TypeError, AttributeError) as error:
        # The operators are internal to torch and may change.
        reason = str(error).strip().splitlines()[0]
        return network, (f"runs without packed convolutions: {reason}",)
    if cosine < MIN_COSINE:
        return network, (f"runs without packed convolutions: they give features of cosine {cosine:.5f}",)
    return fast, ()


def compiled(
    network: nn.Module, spec: EncoderSpec, device: torch.device, *, batch_size: int
) -> tuple[Forward, tuple[str, ...]]:
    """Return the network compiled and warmed up for one batch size, and a note with the seconds that it took.

    Raises:
        EncoderError: compiling fails, or the compiled network computes something else.
    """
    from torch._inductor import config

    snippets = synthetic_snippets(spec, batch_size)
    expected = run(network, snippets, device)
    started = time.monotonic()
    fast = torch.compile(network, dynamic=False)
    try:
        # Frozen weights are packed once, for the kernels of this CPU; read at compile time, which is now.
        with config.patch(freezing=device.type == "cpu"):
            features = run(fast, snippets, device)
    except Exception as error:
        # Compilers fail in many ways: no C++ compiler, no Triton, an unsupported operation.
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise EncoderError(f"compile failed for {spec.name} ({reason}); run without it") from error
    cosine = lowest_cosine(features, expected)
    if cosine < MIN_COSINE:
        raise EncoderError(f"{spec.name} compiled gives features of cosine {cosine:.5f}; run without compile")
    return fast, (f"compiled in {time.monotonic() - started:.0f} s",)

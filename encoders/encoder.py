"""The frozen encoder: snippets of bytes in, features out."""

from __future__ import annotations

import copy
from dataclasses import replace

import torch
from torch import Tensor, nn

from encoders.catalog import catalog_entry
from encoders.entry import CatalogEntry
from encoders.errors import EncoderError
from encoders.layouts import load_into, recognise, unwrap
from encoders.random_weights import fill_random, state_sha256
from encoders.runtime import (
    BATCH_NORMS,
    CHECK_SNIPPETS,
    DTYPES,
    MIN_COSINE,
    SnippetNetwork,
    candidate_precision,
    fold_batch_norm,
    lowest_cosine,
    resolve_device,
    synthetic_snippets,
)
from encoders.spec import EncoderSpec
from encoders.weights import WeightsInfo, check_promised, file_sha256, locate, read_file

# Large enough to fill two cores with clips of eight frames; more brings nothing and costs memory.
CPU_BATCH_SIZE = 2
GPU_BATCH_SIZE = 16


class Encoder:
    """A frozen network with the preprocessing that belongs to it; made by `load_encoder`.

    Attributes:
        spec: what the encoder expects of its input.
        weights: which weights it holds.
        device: where it runs.
        precision: "fp32", "bf16" or "fp16", as resolved.
        batch_size: B of every forward pass; smaller batches are padded with zeros.
        notes: what the user should know about how it runs, e.g. that it fell back to fp32.
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        spec: EncoderSpec,
        weights: WeightsInfo,
        device: torch.device,
        precision: str,
        batch_size: int,
        notes: tuple[str, ...] = (),
    ) -> None:
        self._network = network
        self.spec = spec
        self.weights = weights
        self.device = device
        self.precision = precision
        self.batch_size = batch_size
        self.notes = notes

    def encode(self, snippets: Tensor) -> Tensor:
        """Returns the features float32 [B, C] of B snippets, on the CPU.

        A snippet's features do not depend on the others in its batch: every forward pass has the same shape.

        Args:
            snippets: RGB frames, scaled and cropped, uint8 [B, F, H, W, 3]; any B, also 0.

        Raises:
            EncoderError: another shape or dtype.
        """
        size = self.spec.crop_size
        expected = (self.spec.num_frames, size, size, 3)
        if snippets.dtype != torch.uint8 or tuple(snippets.shape[1:]) != expected:
            raise EncoderError(
                f"snippets for {self.spec.name} must be uint8 [B, {', '.join(map(str, expected))}], got "
                f"{str(snippets.dtype).removeprefix('torch.')} {list(snippets.shape)}"
            )
        parts = [self._forward(part) for part in snippets.split(self.batch_size) if len(part)]
        return torch.cat(parts) if parts else torch.zeros((0, self.spec.feature_dim))

    def _forward(self, snippets: Tensor) -> Tensor:
        """Returns features [B, C] of at most `batch_size` snippets."""
        count = len(snippets)
        if count < self.batch_size:
            padding = snippets.new_zeros((self.batch_size - count, *snippets.shape[1:]))
            snippets = torch.cat([snippets, padding])
        return run(self._network, snippets, self.device)[:count]


def run(network: nn.Module, snippets: Tensor, device: torch.device) -> Tensor:
    """Returns the features float32 [B, C] of one forward pass, on the CPU."""
    with torch.inference_mode():
        if device.type != "cuda":
            return network(snippets.contiguous())
        # Shapes are fixed, so that searching for the fastest kernels pays; without TF32 fp32 means fp32.
        with torch.backends.cudnn.flags(enabled=True, benchmark=True, allow_tf32=False):
            on_device = snippets.contiguous().pin_memory().to(device, non_blocking=True)
            return network(on_device).cpu()


def load_encoder(
    name: str,
    *,
    weights: str = "kinetics400",
    seed: int = 0,
    device: str = "auto",
    precision: str = "auto",
    batch_size: int | None = None,
    weights_sha256: str | None = None,
) -> Encoder:
    """Returns an encoder with its weights, ready to run.

    Args:
        name: one of `encoder_names()`.
        weights: a published name (e.g. "kinetics400"), a file, or "random".
        seed: of random weights.
        device: "auto", "cpu", "cuda" or "cuda:N".
        precision: "auto" (the fastest that agrees with fp32), "fp32", "bf16" or "fp16".
        batch_size: snippets of one forward pass; None chooses by device.
        weights_sha256: refuse weights of another SHA-256.

    Raises:
        EncoderError: an unknown name, weights that are absent or do not fit, a device or precision that is not
            there, or a forced precision that does not agree with fp32.
    """
    return make_encoder(
        catalog_entry(name),
        weights=weights,
        seed=seed,
        device=device,
        precision=precision,
        batch_size=batch_size,
        weights_sha256=weights_sha256,
    )


def make_encoder(
    entry: CatalogEntry,
    *,
    weights: str,
    seed: int = 0,
    device: str = "auto",
    precision: str = "auto",
    batch_size: int | None = None,
    weights_sha256: str | None = None,
) -> Encoder:
    """Returns an encoder of an entry that need not be in the catalogue; else as `load_encoder`."""
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
    size = batch_size or (GPU_BATCH_SIZE if target.type == "cuda" else CPU_BATCH_SIZE)
    folded, notes = _fold(network)
    runtime, resolved, precision_notes = _at_precision(
        folded, spec, target, candidate=candidate, forced=precision != "auto"
    )
    return Encoder(
        runtime,
        spec=spec,
        weights=info,
        device=target,
        precision=resolved,
        batch_size=size,
        notes=notes + precision_notes,
    )


def load_network(entry: CatalogEntry, *, weights: str, seed: int = 0) -> tuple[nn.Module, EncoderSpec, WeightsInfo]:
    """Returns the plain network in eval mode on the CPU, its spec, and which weights it holds.

    Args:
        entry: of the catalogue.
        weights: a published name, a file, or "random".
        seed: of random weights.

    Raises:
        EncoderError: the weights are absent, damaged, or of another network.
    """
    if weights == "random":
        network = _build(entry)
        fill_random(network, seed=seed)
        sha256 = state_sha256(network.state_dict())
        info = WeightsInfo(name="random", path=None, url=None, sha256=sha256, random=True, seed=seed)
        return network, entry.spec, info
    path, url = locate(weights, entry.published)
    sha256 = file_sha256(path)
    if url is not None:
        check_promised(path, sha256)
    where = f"weights file {path}"
    state = unwrap(read_file(path), where=where)
    layout = recognise(state, entry.layouts, where=where)
    network = _build(entry)
    load_into(network, state, layout, where=where)
    name = weights if url is not None else path.name
    info = WeightsInfo(name=name, path=str(path), url=url, sha256=sha256, random=False, seed=None)
    return network, replace(entry.spec, **layout.spec_changes), info


def _build(entry: CatalogEntry) -> nn.Module:
    """Returns the frozen network; what building draws from the global generator is given back."""
    with torch.random.fork_rng(devices=[]):
        network = entry.build()
    return network.eval().requires_grad_(False)


def _fold(network: nn.Module) -> tuple[nn.Module, tuple[str, ...]]:
    """Returns the folded network, or the network itself with a note where it cannot be traced."""
    if not any(isinstance(module, BATCH_NORMS) for module in network.modules()):
        return network, ()
    try:
        return fold_batch_norm(network), ()
    except EncoderError as error:
        return network, (f"runs without folded batch norm: {error}",)


def _at_precision(
    network: nn.Module, spec: EncoderSpec, device: torch.device, *, candidate: str, forced: bool
) -> tuple[nn.Module, str, tuple[str, ...]]:
    """Returns the network ready to run, its precision, and notes; checked against fp32 if it is not fp32."""
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

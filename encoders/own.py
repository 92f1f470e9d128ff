"""Custom networks as encoders: path/to/file.py:name names a function that returns a spec and a module.

def mine():
    network = MyNetwork()                                   # takes [B, 3, F, H, W], returns [B, C]
    network.load_state_dict(torch.load("mine.pth", weights_only=True))
    return EncoderSpec(name="mine", version=1, feature_dim=512, ...), network
"""

from __future__ import annotations

import difflib
import importlib.util
import re
from pathlib import Path

from encoders.entry import CatalogEntry
from encoders.errors import EncoderError
from encoders.layouts import Layout
from encoders.spec import EncoderSpec

PATTERN = re.compile(r"(?P<file>.+\.py):(?P<name>\w+)")


def is_own(name: str) -> bool:
    """Return whether the name of an encoder has the form path/to/file.py:name."""
    return PATTERN.fullmatch(name) is not None


def own_entry(name: str) -> CatalogEntry:
    """Return the entry of a user's network; the file is run like an imported Python module.

    Args:
        name: path/to/file.py:name, where name is a function without arguments that returns
            (EncoderSpec, torch.nn.Module), the module with its weights.

    Raises:
        EncoderError: the file or the function is absent, it fails, or it returns something else.
    """
    from torch import nn

    match = PATTERN.fullmatch(name)
    if match is None:
        raise EncoderError(f"a custom encoder must be path/to/file.py:name, got {name!r}")
    path, function_name = Path(match["file"]).expanduser(), match["name"]
    content = _run_file(path)
    function = content.get(function_name)
    if not callable(function):
        close = difflib.get_close_matches(function_name, [k for k, v in content.items() if callable(v)], n=1)
        hint = f"; did you mean {close[0]}?" if close else ""
        raise EncoderError(f"{path} has no function {function_name!r}{hint}")
    try:
        given = function()
    except Exception as error:
        raise EncoderError(f"{function_name}() of {path} failed: {type(error).__name__}: {error}") from error
    if not (isinstance(given, tuple) and len(given) == 2):
        raise EncoderError(f"{function_name}() of {path} must return (EncoderSpec, module), got {type(given).__name__}")
    spec, network = given
    if not isinstance(spec, EncoderSpec) or not isinstance(network, nn.Module):
        raise EncoderError(
            f"{function_name}() of {path} must return (EncoderSpec, torch.nn.Module), got "
            f"({type(spec).__name__}, {type(network).__name__})"
        )
    marker = next(iter(network.state_dict()), "")
    layout = Layout(f"the state dict of {path.name}:{function_name}", marker, ())
    return CatalogEntry(spec=spec, build=lambda: network, layouts=(layout,), published={}, own=True)


def _run_file(path: Path) -> dict[str, object]:
    """Return the definitions of a Python file, by name."""
    if not path.is_file():
        raise EncoderError(f"encoder file {path} does not exist")
    module_spec = importlib.util.spec_from_file_location(f"own_encoder_{path.stem}", path)
    if module_spec is None or module_spec.loader is None:
        raise EncoderError(f"encoder file {path} cannot be imported")
    module = importlib.util.module_from_spec(module_spec)
    try:
        module_spec.loader.exec_module(module)
    except Exception as error:
        raise EncoderError(f"encoder file {path} failed: {type(error).__name__}: {error}") from error
    return vars(module)

"""The fitted module on disk: one safetensors file that holds its configuration too."""

import json
import os
import socket
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from sola.config import SolaConfig, config_from_dict, config_to_dict
from sola.errors import SolaError
from sola.module import SolaModule

FORMAT = "sola-module"
VERSION = "1"
METADATA_KEY = "sola"
_MOST = 1_000_000  # of channels


def save_module(path: Path, module: SolaModule, config: SolaConfig, extra: Mapping[str, str] | None = None) -> None:
    """Write the module as `write_module` does; readers see the old file or the whole new one."""
    write_atomically(path, lambda temporary: write_module(temporary, module, config, extra))


def write_module(path: Path, module: SolaModule, config: SolaConfig, extra: Mapping[str, str] | None = None) -> None:
    """Write the module and its configuration.

    Args:
        path: the file, usually *.safetensors.
        module: its weights are written in float32.
        config: the settings that it was built and fitted with.
        extra: further facts to store with it, such as where its features come from.
    """
    weights = {name: tensor.detach().float().cpu().contiguous() for name, tensor in module.state_dict().items()}
    facts = {
        "format": FORMAT,
        "version": VERSION,
        "channels": str(module.channels),
        "config": json.dumps(config_to_dict(config)),
        "extra": json.dumps(dict(extra or {})),
    }
    # One entry: safetensors writes several in random order, and equal modules must make equal files.
    metadata = {METADATA_KEY: json.dumps(facts, sort_keys=True)}
    save_file(weights, path, metadata=metadata)


def load_module(path: Path) -> tuple[SolaModule, SolaConfig, dict[str, str]]:
    """Return the module, configuration and extras of a file that `save_module` wrote; on the CPU, float32.

    Raises:
        SolaError: the file is absent, of another kind or version, or its weights do not fit its configuration.
    """
    metadata, weights = _read_safetensors(path)
    if metadata.get("format") != FORMAT:
        raise SolaError(f"{path} is not a saved SoLa module: its format is {metadata.get('format')!r}, not {FORMAT!r}")
    if metadata.get("version") != VERSION:
        raise SolaError(f"{path} has version {metadata.get('version')!r} of the format; this program reads {VERSION!r}")
    try:
        settings = json.loads(metadata["config"])
        config = config_from_dict(settings)
        channels = int(metadata["channels"])
        extra = {str(name): str(value) for name, value in json.loads(metadata["extra"]).items()}
    except (KeyError, ValueError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise SolaError(f"{path} has a configuration that this program cannot read: {error}") from error
    # Built without memory first: a configuration may claim any width, and the file's weights must have it.
    if not 1 <= channels <= _MOST or max(config.hidden, *config.kernel_sizes, *config.dilations) > _MOST:
        raise SolaError(f"{path} claims sizes that no module has: {channels} channels, {_sizes(config)}")
    with torch.device("meta"):
        _refuse_other(SolaModule(channels, config), weights, where=str(path))
    module = SolaModule(channels, config)
    fill_weights(module, weights, where=str(path))
    _close_gate(module, settings.get("gate", "tanh"))
    return module, config, extra


def _close_gate(module: SolaModule, form: str) -> None:
    """Give a module of version 0.1 with another gate than tanh(alpha) the same correction under this one."""
    if form != "tanh":
        with torch.no_grad():
            for parameter in module.convolutions[-1].parameters():
                parameter.mul_(module.alpha if form == "linear" else 1)
            module.alpha.fill_(20)  # whose tanh is 1


def first_line(error: Exception) -> str:
    """Return the first line of an error of torch, before its stack and its advice."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def _sizes(config: SolaConfig) -> str:
    return f"hidden {config.hidden}, kernels {config.kernel_sizes}, dilations {config.dilations}"[:200]


def fill_weights(module: SolaModule, weights: Mapping[str, object], *, where: str) -> None:
    """Copy the weights into the module.

    Raises:
        SolaError: a name is missing or unknown, a shape differs, or numbers are not floating-point; all are named.
    """
    _refuse_other(module, weights, where=where)
    module.load_state_dict(weights)


def _refuse_other(module: SolaModule, weights: Mapping[str, object], *, where: str) -> None:
    expected = module.state_dict()
    problems = [f"missing {name}" for name in sorted(expected.keys() - weights.keys())]
    problems += [f"unknown {name}" for name in sorted(weights.keys() - expected.keys())]
    for name in sorted(expected.keys() & weights.keys()):
        given = tuple(getattr(weights[name], "shape", ()))
        if given != tuple(expected[name].shape):
            problems.append(f"{name} has shape {list(given)}, expected {list(expected[name].shape)}")
        elif not getattr(weights[name], "is_floating_point", lambda: False)():
            problems.append(f"{name} is {getattr(weights[name], 'dtype', 'no tensor')}, expected floating-point")
    if problems:
        raise SolaError(f"the weights of {where} do not fit the module: {'; '.join(problems)}")


def write_atomically(path: Path, write: Callable[[Path], None]) -> None:
    """Call write(temporary), then rename the temporary file to `path`; no half-written file is ever visible.

    The temporary name holds the process, so that others who use the folder can recognize leftovers of killed ones.
    """
    temporary = path.with_name(f".{path.name}.{_this_process()}-{uuid.uuid4().hex}.partial")
    try:
        write(temporary)
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _this_process() -> str:
    """Return the host, the namespace of process ids (on Linux), and the process id."""
    try:
        space = os.stat("/proc/self/ns/pid").st_ino  # noqa: PTH116  (the link's target is no path)
    except OSError:
        space = 0
    return f"{socket.gethostname()[:64]}-{space:x}-{os.getpid()}"


def _read_safetensors(path: Path) -> tuple[dict[str, str], dict[str, object]]:
    if not path.is_file():
        raise SolaError(f"there is no module file {path}")
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            return _facts(file.metadata() or {}), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except Exception as error:  # many types, by what is wrong: SafetensorError, OSError, RuntimeError, ...
        raise SolaError(f"{path} is not a readable safetensors file: {first_line(error)}") from error


def _facts(metadata: Mapping[str, str]) -> dict[str, str]:
    """Return the facts that `save_module` wrote about the module; empty for any other file."""
    try:
        facts = json.loads(metadata.get(METADATA_KEY, "{}"))
    except (ValueError, RecursionError):
        return {}
    return {str(name): str(value) for name, value in facts.items()} if isinstance(facts, dict) else {}

"""The fitted module on disk: one safetensors file with its configuration inside."""

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
    """Write the module as `write_module` does; a reader sees the old file or the whole new one."""
    write_atomically(path, lambda temporary: write_module(temporary, module, config, extra))


def write_module(path: Path, module: SolaModule, config: SolaConfig, extra: Mapping[str, str] | None = None) -> None:
    """Writes the module and its configuration.

    Args:
        path: the file, by custom *.safetensors.
        module: its weights are written in float32.
        config: what it was built and fitted with.
        extra: more to keep with it, such as where its features come from.
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
    """The module, its configuration and the extras of a file that `save_module` wrote; on the CPU, float32.

    Raises:
        SolaError: the file is absent, of another kind or version, or its weights do not fit its configuration.
    """
    metadata, weights = _read_safetensors(path)
    if metadata.get("format") != FORMAT:
        raise SolaError(f"{path} is not a saved SoLa module: its format is {metadata.get('format')!r}, not {FORMAT!r}")
    if metadata.get("version") != VERSION:
        raise SolaError(f"{path} has version {metadata.get('version')!r} of the format; this program reads {VERSION!r}")
    try:
        config = config_from_dict(json.loads(metadata["config"]))
        channels = int(metadata["channels"])
        extra = {str(name): str(value) for name, value in json.loads(metadata["extra"]).items()}
    except (KeyError, ValueError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise SolaError(f"{path} has a configuration that this program cannot read: {error}") from error
    # Without memory at first: a configuration may claim any width, and the file must have weights of it.
    if not 1 <= channels <= _MOST or max(config.hidden, *config.kernel_sizes, *config.dilations) > _MOST:
        raise SolaError(f"{path} claims sizes that no module has: {channels} channels, {_sizes(config)}")
    with torch.device("meta"):
        _refuse_other(SolaModule(channels, config), weights, where=str(path))
    module = SolaModule(channels, config)
    fill_weights(module, weights, where=str(path))
    return module, config, extra


def first_line(error: Exception) -> str:
    """What an error of torch says before its stack and its advice."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def _sizes(config: SolaConfig) -> str:
    return f"hidden {config.hidden}, kernels {config.kernel_sizes}, dilations {config.dilations}"[:200]


def fill_weights(module: SolaModule, weights: Mapping[str, object], *, where: str) -> None:
    """Puts the weights into the module.

    Raises:
        SolaError: a name is missing or unknown, a shape differs, or numbers are of another kind; all of them are named.
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
    """Calls write(temporary), then gives the temporary file its name; nothing half-written can be seen.

    The temporary name tells its process, so that whoever works in the folder knows what a killed one has left.
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
    """Host, space of process numbers (on Linux), and number."""
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
    except Exception as error:  # what it raises depends on what is wrong: SafetensorError, OSError, RuntimeError, ...
        raise SolaError(f"{path} is not a readable safetensors file: {first_line(error)}") from error


def _facts(metadata: Mapping[str, str]) -> dict[str, str]:
    """What `save_module` wrote about the module; empty for any other file."""
    try:
        facts = json.loads(metadata.get(METADATA_KEY, "{}"))
    except (ValueError, RecursionError):
        return {}
    return {str(name): str(value) for name, value in facts.items()} if isinstance(facts, dict) else {}

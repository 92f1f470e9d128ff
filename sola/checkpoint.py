"""Checkpoints of an unfinished fit; a checkpoint of another fit is refused."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sola.config import SolaConfig, config_to_dict
from sola.errors import SolaError
from sola.files import first_line, write_atomically
from sola.metering import go_on_from, with_operations
from sola.old_names import current_names
from sola.sampling import FeatureSource

FORMAT = "sola-checkpoint-2"

# These say how long and where to train and how much to report. They do not change what a step does, so a resumed fit
# may have others: more steps, for example.
FREE_OPTIONS = ("epochs", "steps", "device", "readers", "checkpoint_every_steps", "log_every_steps", "adapt")


def fit_identity(source: FeatureSource, lengths: np.ndarray, config: SolaConfig, channels: int) -> dict[str, Any]:
    """Return what a checkpoint must share with the fit that resumes from it, by name.

    The data are identified by their number, lengths, channels, and the values of a few rows: enough to recognize
    other data without reading it all.
    """
    identity = {name: value for name, value in config_to_dict(config).items() if name not in FREE_OPTIONS}
    identity["data: channels"] = channels
    identity["data: videos"] = len(lengths)
    identity["data: lengths"] = hashlib.sha256(lengths.tobytes()).hexdigest()
    digest = hashlib.sha256()
    for index in np.unique(np.linspace(0, len(lengths) - 1, 16).astype(int)):
        middle = int(lengths[index]) // 2
        digest.update(np.ascontiguousarray(source.rows(int(index), middle, middle + 1), dtype=np.float32).tobytes())
    identity["data: values"] = digest.hexdigest()
    return identity


def save_checkpoint(path: Path, identity: Mapping[str, Any], state: Mapping[str, Any]) -> None:
    """Write the state (tensors and plain values) and its identity; readers see the old file or the whole new one."""
    content = {"format": FORMAT, "identity": dict(identity), "state": dict(state)}
    write_atomically(path, lambda temporary: torch.save(with_operations(content), temporary))


def load_checkpoint(path: Path, identity: Mapping[str, Any]) -> dict[str, Any]:
    """Return the state saved for a fit of this identity, on the CPU.

    Raises:
        SolaError: the file is not a checkpoint, or belongs to other settings or data; all differences are named.
    """
    if not path.is_file():
        raise SolaError(f"{path} is not a file: delete it to start over")
    try:
        # weights_only: tensors and plain values, so that no checkpoint can run code.
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch's unpickler and zip reader raise many types
        reason = first_line(error)
        raise SolaError(f"{path} is not a readable checkpoint ({reason}): delete it to start over") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise SolaError(f"{path} is not a checkpoint of a SoLa fit: delete it to start over, or name another file")
    saved = content.get("identity")
    if not isinstance(saved, dict) or not isinstance(content.get("state"), dict):
        raise SolaError(f"{path} is a damaged checkpoint: delete it to start over")
    try:
        saved, identity = (current_names(SolaConfig, names) for names in (saved, identity))
    except ValueError as error:
        raise SolaError(f"{path} is a damaged checkpoint ({error}): delete it to start over") from None
    differing = [
        f"{name} (checkpoint {_short(saved.get(name))}, now {_short(identity.get(name))})"
        for name in sorted(saved.keys() | identity.keys())
        if saved.get(name) != identity.get(name)
    ]
    if differing:
        raise SolaError(
            f"the checkpoint {path} belongs to another fit; these differ: {', '.join(differing)}. "
            "Use its settings and data to resume, or delete it to start over"
        )
    go_on_from(content)
    state: dict[str, Any] = content["state"]
    return state


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 16 else text[:12] + "…"

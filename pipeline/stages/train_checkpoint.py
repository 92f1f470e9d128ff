"""The state of an unfinished training, in a file of the MODEL folder."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import torch

from pipeline.errors import PipelineError
from pipeline.storage.atomic_files import remove, whole_file
from sola.metering import go_on_from, with_operations

CHECKPOINT_FILE = ".train_checkpoint"


class Checkpoint:
    """The state of an unfinished training; a state of other data or settings is ignored."""

    def __init__(self, path: Path, identity: str) -> None:
        self._path = path
        self._identity = identity

    def save(self, state: dict[str, Any]) -> None:
        with whole_file(self._path) as partial:
            torch.save(with_operations({"identity": self._identity, "state": state}), partial)

    def load(self) -> dict[str, Any] | None:
        if not self._path.is_file():
            return None
        try:
            value = torch.load(self._path, map_location="cpu", weights_only=True)
        except (RuntimeError, OSError, ValueError, EOFError, pickle.UnpicklingError) as error:
            raise PipelineError(f"{self._path} cannot be read ({error}); remove it to train from the start") from None
        if value.get("identity") != self._identity:
            return None
        go_on_from(value)
        state: dict[str, Any] = value["state"]
        return state

    def remove(self) -> None:
        remove(self._path)

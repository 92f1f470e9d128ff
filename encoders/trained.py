"""Weight files that carry their spec: training on custom clips writes them, and `--weights` reads them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from encoders.errors import EncoderError
from encoders.layouts import Layout
from encoders.spec import EncoderSpec

FORMAT = "sola-pipeline encoder 1"


def save_trained(path: Path, network: nn.Module, spec: EncoderSpec, *, about: Mapping[str, Any]) -> None:
    """Write the network's weights with the spec that they were trained for.

    Args:
        path: a .safetensors file.
        network: as its entry in the catalog builds it, without a classifier.
        spec: the preprocessing of the training, under the name of that entry.
        about: facts about the training, as JSON values.
    """
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    facts = {"format": FORMAT, "spec": spec.as_dict(), "about": dict(about)}
    # One key: safetensors writes several in random order, and equal weights must give equal files.
    save_file(weights, path, metadata={"sola_pipeline": json.dumps(facts, sort_keys=True)})


def carried_spec(path: Path) -> EncoderSpec | None:
    """Return the spec that a weight file carries, or None.

    Raises:
        EncoderError: the file is damaged.
    """
    if path.suffix != ".safetensors":
        return None
    try:
        with safe_open(path, framework="pt") as file:
            text = (file.metadata() or {}).get("sola_pipeline")
        facts = json.loads(text) if text else {}
        if facts.get("format") != FORMAT:
            return None
        fields: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in facts["spec"].items()}
        return EncoderSpec(**fields)
    except (SafetensorError, OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise EncoderError(f"weights file {path} could not be read: {error}") from error


def own_layout(state: Mapping[str, object]) -> Layout:
    """Return the layout of a file that `save_trained` wrote: the network's own names, no classifier."""
    return Layout("weights trained here", next(iter(state), ""), ())

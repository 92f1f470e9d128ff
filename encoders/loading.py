"""Load the plain network of a catalog entry with its weights."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from encoders.entry import CatalogEntry
from encoders.errors import EncoderError
from encoders.layouts import load_into, recognize, unwrap
from encoders.random_weights import fill_random, state_sha256
from encoders.spec import EncoderSpec
from encoders.trained import carried_spec, own_layout
from encoders.weights import WeightsInfo, check_promised, file_sha256, locate, read_file

# The meaning of the default name for a user's own network.
OWN_WEIGHTS = ("own", "kinetics400")


def load_network(entry: CatalogEntry, *, weights: str, seed: int = 0) -> tuple[nn.Module, EncoderSpec, WeightsInfo]:
    """Return the plain network in eval mode on the CPU, its spec, and its weights' origin.

    Args:
        entry: of the catalog.
        weights: a published name, a file, a URL, or "random"; "own" keeps the weights of a user's own network.
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
    if entry.load is not None and weights in OWN_WEIGHTS:
        with torch.random.fork_rng(devices=[]):
            network, info = entry.load()
        return network.eval().requires_grad_(False), entry.spec, info
    if entry.own and weights in OWN_WEIGHTS:
        network = _build(entry)
        sha256 = state_sha256(network.state_dict())
        info = WeightsInfo(name="own", path=None, url=None, sha256=sha256, random=False, seed=None)
        return network, entry.spec, info
    if entry.own and not entry.layouts and not _carries_spec(weights):
        raise EncoderError(
            f"encoder {entry.spec.name} brings its weights; weights must be own, random or a file that was trained "
            f"here, got {weights}"
        )
    path, source = locate(weights, entry.published)
    sha256 = file_sha256(path)
    if source is not None:
        check_promised(source, path, sha256)
    where = f"weights file {path}"
    content = read_file(path)
    carried = carried_spec(path)
    markers = [layout.marker for layout in entry.layouts]
    state = unwrap(content, where=where, is_bare=lambda names: bool(carried) or any(m in names for m in markers))
    if carried is not None and carried.name != entry.spec.name:
        raise EncoderError(f"{where} was trained for encoder {carried.name}, got encoder {entry.spec.name}")
    layout = own_layout(state) if carried is not None else recognize(state, entry.layouts, where=where)
    network = _build(entry)
    load_into(network, state, layout, where=where)
    name = weights if source is not None else path.name
    url = source.url if source is not None else None
    info = WeightsInfo(name=name, path=str(path), url=url, sha256=sha256, random=False, seed=None)
    return network, carried or replace(entry.spec, **layout.spec_changes), info


def _carries_spec(weights: str) -> bool:
    path = Path(weights).expanduser()
    return path.is_file() and carried_spec(path) is not None


def _build(entry: CatalogEntry) -> nn.Module:
    """Return the frozen network; the state of the global random generator is restored after building."""
    with torch.random.fork_rng(devices=[]):
        network = entry.build()
    return network.eval().requires_grad_(False)

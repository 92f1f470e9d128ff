"""The encoder that a training starts from: its network, its weights, and the pictures that it will see."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import nn

from encoders.catalog import catalog_entry
from encoders.errors import EncoderError, reason_of
from encoders.loading import load_network
from encoders.spec import EncoderSpec
from encoders.stages import freeze_stages
from encoders.weights import WeightsInfo


@dataclass(frozen=True)
class StartEncoder:
    """An encoder before its training.

    Args:
        network: the plain network, on the CPU.
        spec: its preprocessing at the size of the training; that of its weights but for the size.
        weights: the weights that it has.
    """

    network: nn.Module
    spec: EncoderSpec
    weights: WeightsInfo


def start_encoder(
    name: str, *, pool: str | None, weights: str, seed: int, size: int, frozen_stages: int
) -> StartEncoder:
    """Return the encoder to train, once it is clear that it can be trained so.

    Args:
        name, pool, weights: as for `extract`: of the catalog, hf:…, timm:… or path/to/file.py:name.
        seed: of random weights.
        size: side of the pictures in pixels; 0: that of the weights.
        frozen_stages: number of stages that will not learn.

    Raises:
        EncoderError: it is unknown, its weights do not fit, it takes no RGB, or no pictures of this size, or no stage
            would be left to learn.
    """
    entry = catalog_entry(name, pool=pool, weights=weights)
    if entry.spec.modality != "rgb":
        raise EncoderError(f"encoder must take RGB frames, got {name}, which takes {entry.spec.modality}")
    network, spec, info = load_network(entry, weights=weights, seed=seed)
    freeze_stages(network, frozen_stages)  # refuses what leaves nothing to learn; training freezes again
    at_size = spec_at_size(spec, size)
    _refuse_misfit(network, at_size, spec.crop_size)
    return StartEncoder(network, at_size, info)


def spec_at_size(spec: EncoderSpec, side: int) -> EncoderSpec:
    """Return the spec for pictures of `side` pixels, with the usual margin around the crop; 0: the spec itself."""
    if side in (0, spec.crop_size):
        return spec
    return replace(spec, crop_size=side, short_side=math.ceil(side * 8 / 7), fixed_size=None)


def _refuse_misfit(network: nn.Module, spec: EncoderSpec, usual: int) -> None:
    """Raise EncoderError if the network does not turn one black snippet into one vector of the spec."""
    frames, side = spec.num_frames, spec.crop_size
    shape = (frames, 3, side, side) if spec.layout == "frames" else (1, 3, frames, side, side)
    try:
        with torch.no_grad():
            found = tuple(network(torch.zeros(shape)).shape)
    except Exception as error:  # networks check their input in many ways
        hint = f"; leave out size, or give {usual}" if side != usual else ""
        raise EncoderError(f"{spec.name} takes no pictures of {side} pixels: {reason_of(error)}{hint}") from error
    if found != (shape[0], spec.feature_dim):
        raise EncoderError(
            f"{spec.name} gave features of shape {list(found)}, its spec says [{shape[0]}, {spec.feature_dim}]: "
            "correct feature_dim or the network"
        )

"""An entry of the catalog: the facts about one encoder."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from encoders.layouts import Layout
from encoders.spec import EncoderSpec
from encoders.weights import PublishedWeights, WeightsInfo

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class CatalogEntry:
    """One encoder: its spec, its network without weights, and the weights that fit it.

    Args:
        spec: the preprocessing and the dimension.
        build: returns the network; it takes normalized frames in `spec.layout` and returns float32 [B, C].
        layouts: the layouts of weight files that fit.
        published: weights available by name, the default first.
        own: whether the network brings its weights: a user's own, or a model of Hugging Face.
        load: returns the network with its weights and their origin, where `build` makes it without them.
    """

    spec: EncoderSpec
    build: Callable[[], nn.Module]
    layouts: tuple[Layout, ...]
    published: Mapping[str, PublishedWeights]
    own: bool = False
    load: Callable[[], tuple[nn.Module, WeightsInfo]] | None = None

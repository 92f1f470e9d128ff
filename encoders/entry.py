"""What the catalog knows about one encoder."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from encoders.layouts import Layout
from encoders.spec import EncoderSpec
from encoders.weights import PublishedWeights

if TYPE_CHECKING:
    from torch import nn

PYTORCHVIDEO_ZOO = "https://dl.fbaipublicfiles.com/pytorchvideo/model_zoo/kinetics"


@dataclass(frozen=True)
class CatalogEntry:
    """One encoder: its spec, its network without weights, and the weights that fit it.

    Args:
        spec: the preprocessing and the dimension.
        build: returns the network; it takes normalized frames as spec.layout says and returns float32 [B, C].
        layouts: of weight files that fit.
        published: weights that can be had by name, the default first.
        own: whether it is a user's network, built with its weights.
    """

    spec: EncoderSpec
    build: Callable[[], nn.Module]
    layouts: tuple[Layout, ...]
    published: Mapping[str, PublishedWeights]
    own: bool = False


def pytorchvideo_entry(
    name: str,
    *,
    file: str,
    build: Callable[[], nn.Module],
    layout: Layout,
    num_frames: int,
    frame_step: int,
    source: str,
    short_side: int = 256,
    crop_size: int = 224,
    feature_dim: int = 2048,
) -> CatalogEntry:
    """Return the entry of a network from pytorchvideo's model zoo: Kinetics-400 at 30 fps, one mean and std.

    Args:
        name: the encoder's.
        file: in the model zoo.
        build: returns the network.
        layout: of the file.
        num_frames: fed to the network.
        frame_step: from one of them to the next, in frames.
        source: paper, one line.
        short_side: of a scaled frame, in pixels.
        crop_size: in pixels.
        feature_dim: C.
    """
    spec = EncoderSpec(
        name=name,
        version=1,
        feature_dim=feature_dim,
        num_frames=num_frames,
        window_frames=num_frames * frame_step,
        fps=30.0,
        short_side=short_side,
        crop_size=crop_size,
        mean=(0.45, 0.45, 0.45),
        std=(0.225, 0.225, 0.225),
        layout="clip",
        source=f"{source}; pytorchvideo 0.1.5",
    )
    weights = PublishedWeights(f"{PYTORCHVIDEO_ZOO}/{file}", "Kinetics-400, pytorchvideo's model zoo")
    return CatalogEntry(spec=spec, build=build, layouts=(layout,), published={"kinetics400": weights})

"""An entry of the catalog: the facts about one encoder."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from encoders.layouts import INCEPTION_LAYOUTS, Layout
from encoders.spec import EncoderSpec
from encoders.weights import PublishedWeights, WeightsInfo

if TYPE_CHECKING:
    from torch import nn

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

# Bytes of flow: 128 is no motion, 0 and 255 are the clamp.
NO_MOTION = 128 / 255

PYTORCHVIDEO_ZOO = "https://dl.fbaipublicfiles.com/pytorchvideo/model_zoo/kinetics"


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
        num_frames: number of frames fed to the network.
        frame_step: distance between two of them, in frames.
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


def tsn_entry(
    name: str,
    *,
    build: Callable[[], nn.Module],
    layouts: tuple[Layout, ...],
    published: Mapping[str, PublishedWeights],
    feature_dim: int,
    source: str,
    flow_stack: int | None = None,
) -> CatalogEntry:
    """Return the entry of a temporal segment network: 3 segments of a window of 16 frames at 30 fps.

    Args:
        name: the encoder's.
        build: returns the network.
        layouts: the layouts of weight files that fit.
        published: weights available by name, the default first.
        feature_dim: C.
        source: paper, one line.
        flow_stack: flow fields in a segment; None for RGB.
    """
    flow = flow_stack is not None
    spec = EncoderSpec(
        name=name,
        version=1,
        feature_dim=feature_dim,
        num_frames=3,
        window_frames=16,
        fps=30.0,
        short_side=256,
        crop_size=224,
        mean=(NO_MOTION, NO_MOTION) if flow else IMAGENET_MEAN,
        std=(NO_MOTION, NO_MOTION) if flow else IMAGENET_STD,
        layout="frames",
        modality="flow" if flow else "rgb",
        stack=flow_stack or 1,
        source=source,
    )
    return CatalogEntry(spec=spec, build=build, layouts=layouts, published=published)


def inception_entry(
    name: str,
    *,
    build: Callable[[], nn.Module],
    published: Mapping[str, PublishedWeights],
    source: str,
    flow: bool = False,
) -> CatalogEntry:
    """Return the entry of a stream of I3D Inception-v1: windows of 16 frames at 25 fps, inputs in [-1, 1].

    Args:
        name: the encoder's.
        build: returns the network.
        published: weights available by name, the default first.
        source: paper, one line.
        flow: whether the stream takes flow instead of RGB.
    """
    spec = EncoderSpec(
        name=name,
        version=1,
        feature_dim=1024,
        num_frames=16,
        window_frames=16,
        fps=25.0,
        short_side=256,
        crop_size=224,
        mean=(NO_MOTION, NO_MOTION) if flow else (0.5, 0.5, 0.5),
        std=(0.5, 0.5) if flow else (0.5, 0.5, 0.5),
        layout="clip",
        modality="flow" if flow else "rgb",
        source=source,
    )
    return CatalogEntry(spec=spec, build=build, layouts=INCEPTION_LAYOUTS, published=published)

"""What the encoders of one family share: their preprocessing, to which each adds its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from encoders.entry import CatalogEntry
from encoders.layouts import Layout
from encoders.spec import EncoderSpec
from encoders.weights import PublishedWeights

if TYPE_CHECKING:
    from torch import nn

PYTORCHVIDEO_ZOO = "https://dl.fbaipublicfiles.com/pytorchvideo/model_zoo/kinetics"

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

# Bytes of flow: 128 is no motion, 0 and 255 are the clamp.
NO_MOTION = (128 / 255, 128 / 255)

# pytorchvideo's model zoo: Kinetics-400 at 30 fps.
zoo_spec = partial(
    EncoderSpec,
    version=1,
    fps=30.0,
    short_side=256,
    crop_size=224,
    feature_dim=2048,
    mean=(0.45, 0.45, 0.45),
    std=(0.225, 0.225, 0.225),
    layout="clip",
    source="pytorchvideo 0.1.5",
)


def zoo_entry(
    spec: EncoderSpec, *, file: str, build: Callable[[], nn.Module], layout: Layout, source: str
) -> CatalogEntry:
    """Return the entry of a network from pytorchvideo's model zoo.

    Args:
        spec: made by `zoo_spec`.
        file: in the model zoo.
        build: returns the network.
        layout: of the file.
        source: paper, one line.
    """
    weights = PublishedWeights(f"{PYTORCHVIDEO_ZOO}/{file}", "Kinetics-400, pytorchvideo's model zoo")
    spec = replace(spec, source=f"{source}; {spec.source}")
    return CatalogEntry(spec=spec, build=build, layouts=(layout,), published={"kinetics400": weights})


# Temporal segment networks: 3 segments of a window of 16 frames at 30 fps.
tsn_spec = partial(
    EncoderSpec,
    version=1,
    num_frames=3,
    window_frames=16,
    fps=30.0,
    short_side=256,
    crop_size=224,
    mean=IMAGENET_MEAN,
    std=IMAGENET_STD,
    layout="frames",
)

# I3D Inception-v1: windows of 16 frames at 25 fps, inputs in [-1, 1].
inception_spec = partial(
    EncoderSpec,
    version=1,
    feature_dim=1024,
    num_frames=16,
    window_frames=16,
    fps=25.0,
    short_side=256,
    crop_size=224,
    mean=(0.5, 0.5, 0.5),
    std=(0.5, 0.5, 0.5),
    layout="clip",
)

"""The encoders that are there by name: what each expects, how it is built, where its weights are."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import nn

from encoders.errors import EncoderError
from encoders.layouts import RESNET50_LAYOUTS, Layout, pytorchvideo_layout
from encoders.networks import build_i3d_r50, build_resnet50
from encoders.spec import EncoderSpec
from encoders.weights import PublishedWeights

PYTORCHVIDEO_ZOO = "https://dl.fbaipublicfiles.com/pytorchvideo/model_zoo/kinetics"
PYTORCHVIDEO_MEAN = (0.45, 0.45, 0.45)
PYTORCHVIDEO_STD = (0.225, 0.225, 0.225)
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class CatalogEntry:
    """One encoder: its spec, its network without weights, and the weights that fit it.

    Args:
        spec: the preprocessing and the dimension.
        build: returns the network; it takes normalised frames as spec.layout says and returns float32 [B, C].
        layouts: of weight files that fit.
        published: weights that can be had by name, the default first.
    """

    spec: EncoderSpec
    build: Callable[[], nn.Module]
    layouts: tuple[Layout, ...]
    published: Mapping[str, PublishedWeights]


CATALOG: dict[str, CatalogEntry] = {
    "i3d_r50": CatalogEntry(
        spec=EncoderSpec(
            name="i3d_r50",
            version=1,
            feature_dim=2048,
            num_frames=8,
            window_frames=64,
            fps=30.0,
            short_side=256,
            crop_size=224,
            mean=PYTORCHVIDEO_MEAN,
            std=PYTORCHVIDEO_STD,
            layout="clip",
            source="I3D with ResNet-50, 8x8 (Carreira and Zisserman 2017; Feichtenhofer et al. 2019); pytorchvideo",
        ),
        build=build_i3d_r50,
        layouts=(pytorchvideo_layout("blocks.6.proj."),),
        published={
            "kinetics400": PublishedWeights(
                f"{PYTORCHVIDEO_ZOO}/I3D_8x8_R50.pyth", "Kinetics-400, pytorchvideo's model zoo"
            )
        },
    ),
    # A window of 16 frames is the interval at which the field samples TSN features on ActivityNet and THUMOS14
    # (Lin et al. 2018, BSN, section 4.1: one snippet every 16 frames).
    "tsn_r50": CatalogEntry(
        spec=EncoderSpec(
            name="tsn_r50",
            version=1,
            feature_dim=2048,
            num_frames=3,
            window_frames=16,
            fps=30.0,
            short_side=256,
            crop_size=224,
            mean=IMAGENET_MEAN,
            std=IMAGENET_STD,
            layout="frames",
            source="Temporal segment network, RGB, ResNet-50, 3 segments (Wang et al. 2016); torchvision's network",
        ),
        build=build_resnet50,
        layouts=RESNET50_LAYOUTS,
        published={
            "kinetics400": PublishedWeights(
                "https://download.openmmlab.com/mmaction/v1.0/recognition/tsn/"
                "tsn_imagenet-pretrained-r50_8xb32-1x1x3-100e_kinetics400-rgb/"
                "tsn_imagenet-pretrained-r50_8xb32-1x1x3-100e_kinetics400-rgb_20220906-cd10898e.pth",
                "Kinetics-400 as a TSN of 3 segments from ImageNet, mmaction2",
            ),
            "imagenet1k": PublishedWeights(
                "https://download.pytorch.org/models/resnet50-0676ba61.pth",
                "ImageNet-1k images, torchvision's IMAGENET1K_V1; has seen no video",
            ),
        },
    ),
}


def encoder_names() -> tuple[str, ...]:
    """Returns the names of all encoders, in the catalogue's order."""
    return tuple(CATALOG)


def encoder_spec(name: str) -> EncoderSpec:
    """Returns the spec of an encoder.

    Raises:
        EncoderError: there is none of that name; the nearest names are offered.
    """
    return catalog_entry(name).spec


def catalog_entry(name: str) -> CatalogEntry:
    """Returns the catalogue's entry of an encoder.

    Raises:
        EncoderError: there is none of that name; the nearest names are offered.
    """
    if name in CATALOG:
        return CATALOG[name]
    close = difflib.get_close_matches(name, CATALOG, n=3, cutoff=0.4)
    hint = f"did you mean {' or '.join(close)}?" if close else "see the list"
    raise EncoderError(f"encoder must be one of {', '.join(CATALOG)}, got {name!r}: {hint}")

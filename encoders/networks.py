"""Networks that turn normalized frames into features; built without weights and without classifiers."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F


class PooledBlocks(nn.Module):
    """A chain of blocks whose last feature map is averaged over time and space.

    The blocks keep their index, so that parameter names equal those of the original network.
    """

    def __init__(self, blocks: list[nn.Module]) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)

    def forward(self, clips: Tensor) -> Tensor:
        """Return features float32 [B, C].

        Args:
            clips: normalized frames [B, 3, F, H, W].
        """
        features = clips
        for block in self.blocks:
            features = block(features)
        # The mean is accumulated in float32 even in half precision, for which avg_pool3d has no CPU kernel.
        return features.mean(dim=(2, 3, 4), dtype=torch.float32)


class PooledImageNet(nn.Module):
    """A torchvision ResNet without its classifier: features of single frames, averaged over space."""

    def __init__(self, resnet: nn.Module) -> None:
        super().__init__()
        # The children keep their names, so that parameter names equal torchvision's.
        for name, child in resnet.named_children():
            if name not in ("avgpool", "fc"):
                self.add_module(name, child)

    def forward(self, frames: Tensor) -> Tensor:
        """Return features float32 [B, C].

        Args:
            frames: normalized frames [B, C, H, W].
        """
        features = frames
        for child in self.children():
            features = child(features)
        return features.mean(dim=(2, 3), dtype=torch.float32)


class PooledSlowFast(nn.Module):
    """pytorchvideo's SlowFast without its classifier; the slow path's frames are picked inside."""

    slow_frames: Tensor

    def __init__(self, network: Any, *, num_frames: int, alpha: int) -> None:
        super().__init__()
        network.blocks[-3].multipathway_fusion = None  # an identity on a list, which torch.fx cannot trace
        self.blocks = nn.ModuleList(list(network.blocks)[:-2])
        self.pools = network.blocks[-2].pool
        # The slow path's frames as in PySlowFast's pack_pathway_output: evenly spaced, both ends included.
        slow_frames = torch.linspace(0, num_frames - 1, num_frames // alpha).long()
        self.register_buffer("slow_frames", slow_frames, persistent=False)

    def forward(self, clips: Tensor) -> Tensor:
        """Return features float32 [B, C], slow channels first.

        Args:
            clips: normalized frames [B, 3, F, H, W].
        """
        pathways = [clips.index_select(2, self.slow_frames), clips]
        for block in self.blocks:
            pathways = block(pathways)
        # The published pooling is 7x7 with stride 1, on an 8x8 map: not the plain mean. In float32, since
        # avg_pool3d has no kernel for bfloat16 on a CPU.
        pooled = [
            _average_pool(pathway.float(), _kernel(pool)) for pool, pathway in zip(self.pools, pathways, strict=True)
        ]
        return torch.cat([features.mean(dim=(2, 3, 4)) for features in pooled], dim=1)


@fx.wrap
def _average_pool(features: Tensor, kernel: tuple[int, ...]) -> Tensor:
    """Return the means over `kernel` with stride 1; over a whole side where that is smaller, as of small pictures."""
    sides = [min(one, side) for one, side in zip(kernel, features.shape[2:], strict=True)]
    return F.avg_pool3d(features, sides, stride=1)


def _kernel(pool: nn.AvgPool3d) -> tuple[int, ...]:
    sides: tuple[int, ...] = tuple(pool.kernel_size)  # type: ignore[arg-type]
    return tuple(int(side) for side in sides)  # some are NumPy's


class PooledX3D(nn.Module):
    """pytorchvideo's X3D up to the activation before its classifier."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        head = network.blocks[-1]
        del head.proj
        self.blocks = network.blocks

    def forward(self, clips: Tensor) -> Tensor:
        """Return features float32 [B, C].

        Args:
            clips: normalized frames [B, 3, F, H, W].
        """
        features = clips
        for block in list(self.blocks)[:-1]:
            features = block(features)
        pool = self.blocks[-1].pool
        features = pool.pre_act(pool.pre_norm(pool.pre_conv(features)))
        pooled = _average_pool(features.float(), _kernel(pool.pool)).to(features.dtype)
        return pool.post_act(pool.post_conv(pooled)).mean(dim=(2, 3, 4), dtype=torch.float32)


class ClassToken(nn.Module):
    """Replacement of a transformer's head that returns the class token's features."""

    def forward(self, tokens: Tensor) -> Tensor:
        """Return the first token [B, C] of tokens [B, N, C]."""
        return tokens[:, 0]


class PooledVideoResNet(nn.Module):
    """A torchvision video ResNet without its classifier."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.stem = network.stem
        self.layer1, self.layer2 = network.layer1, network.layer2
        self.layer3, self.layer4 = network.layer3, network.layer4

    def forward(self, clips: Tensor) -> Tensor:
        """Return features float32 [B, C].

        Args:
            clips: normalized frames [B, 3, F, H, W].
        """
        features = self.stem(clips)
        features = self.layer4(self.layer3(self.layer2(self.layer1(features))))
        return features.mean(dim=(2, 3, 4), dtype=torch.float32)


def _pytorchvideo(name: str) -> Any:
    """Return a network of pytorchvideo's hub, classifier included, without weights."""
    with warnings.catch_warnings():
        # pytorchvideo is no longer maintained; users need no warnings about its deprecated torch functions.
        warnings.simplefilter("ignore")
        from pytorchvideo.models import hub

        return getattr(hub, name)(pretrained=False)


def build_pytorchvideo_resnet(name: str) -> nn.Module:
    """Return a ResNet of pytorchvideo's hub without its head.

    Args:
        name: i3d_r50, c2d_r50, slow_r50, csn_r101 or r2plus1d_r50.
    """
    return PooledBlocks(list(_pytorchvideo(name).blocks)[:-1])


def build_slowfast_r50() -> nn.Module:
    """Return pytorchvideo's SlowFast ResNet-50, 8x8, without its classifier."""
    return PooledSlowFast(_pytorchvideo("slowfast_r50"), num_frames=32, alpha=4)


def build_x3d(name: str) -> nn.Module:
    """Return pytorchvideo's x3d_s or x3d_m without its classifier."""
    return PooledX3D(_pytorchvideo(name))


def build_mvit_base_16x4() -> nn.Module:
    """Return pytorchvideo's MViT-B 16x4 without its classifier: features of the class token."""
    network: nn.Module = _pytorchvideo("mvit_base_16x4")
    network.head = ClassToken()
    return network


def build_r2plus1d_34() -> nn.Module:
    """Return R(2+1)D-34 as in the Caffe2 models that TSP starts from (facebookresearch/VMZ)."""
    from torchvision.models.video.resnet import BasicBlock, Conv2Plus1D, R2Plus1dStem, VideoResNet

    network = VideoResNet(block=BasicBlock, conv_makers=[Conv2Plus1D] * 4, layers=[3, 4, 6, 3], stem=R2Plus1dStem)
    # Where a stage doubles the planes, Caffe2 derives the second convolution's middle planes from the stage's
    # own: 3 * 9 * p * p / (9 * p + 3 * p) = 2.25 p, torchvision from those of the stage before.
    for layer, planes in ((network.layer2, 128), (network.layer3, 256), (network.layer4, 512)):
        layer[0].conv2[0] = Conv2Plus1D(planes, planes, planes * 9 // 4)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm3d):
            module.eps = 1e-3
    return PooledVideoResNet(network)


def build_resnet18() -> nn.Module:
    """Return torchvision's ResNet-18 without its classifier."""
    from torchvision.models import resnet18

    return PooledImageNet(resnet18(weights=None))


def build_resnet50(channels_in: int = 3) -> nn.Module:
    """Return torchvision's ResNet-50 without its classifier, for pictures of `channels_in` channels."""
    from torchvision.models import resnet50

    network = resnet50(weights=None)
    if channels_in != 3:
        network.conv1 = nn.Conv2d(channels_in, 64, kernel_size=7, stride=2, padding=3, bias=False)
    return PooledImageNet(network)


def build_inception(channels_in: int = 3) -> nn.Module:
    """Return I3D Inception-v1 without its classifier, for pictures of `channels_in` channels."""
    from encoders.inception import InceptionI3D

    return InceptionI3D(channels_in=channels_in)

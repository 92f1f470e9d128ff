"""EfficientNet-Lite0 with ImageNet weights on single frames: 8 a second, of 176 pixels. See `stitch_features`."""

import sys
from dataclasses import replace
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "examples"))

from efficientnet_lite0 import lite0

from encoders.spec import EncoderSpec

FPS, SIDE = 8.0, 176


def lite0_frames() -> tuple[EncoderSpec, torch.nn.Module]:
    """Return the encoder: a row for each frame."""
    spec, network = lite0()
    one = {"num_frames": 1, "window_frames": 1, "fps": FPS, "short_side": SIDE + 24, "crop_size": SIDE}
    return replace(spec, name="efficientnet_lite0_frames", **one), network

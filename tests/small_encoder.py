"""A small encoder in a file of its own, videos with segments, and requests to train both ends on them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.heads.config import HeadConfig, TrainConfig
from pipeline.stages.end_to_end_data import Request
from pipeline.stages.extract import extract
from pipeline.training.end_to_end_config import EndToEndConfig
from tests import videos as make

OWN = '''
import torch
from encoders.spec import EncoderSpec


class Small(torch.nn.Module):
    """Two convolutions with batch norm; a stem and a layer."""

    def __init__(self):
        super().__init__()
        self.stem = torch.nn.Sequential(torch.nn.Conv3d(3, 6, 3, stride=(1, 4, 4), padding=1), torch.nn.BatchNorm3d(6))
        self.layer = torch.nn.Conv3d(6, 8, 3, stride=2, padding=1)
        for place, parameter in enumerate(self.parameters()):
            generator = torch.Generator().manual_seed(place)
            parameter.data = torch.randn(parameter.shape, generator=generator) / parameter[0].numel() ** 0.5
        self.stem[1].running_mean += 0.3

    def forward(self, clips):
        return self.layer(torch.relu(self.stem(clips))).relu().mean(dim=(2, 3, 4))


def small():
    spec = EncoderSpec(
        name="small", version=1, feature_dim=8, num_frames=4, window_frames=8, fps=10.0, short_side=36, crop_size=32,
        mean=(0.4, 0.4, 0.4), std=(0.3, 0.3, 0.3), layout="clip", source="a small network",
    )
    return spec, Small()
'''
HEAD = HeadConfig(embed_dim=8, levels=2, stem_blocks=1, tower_layers=1, max_seq_len=8, max_test_snippets=8)
TINY = TrainConfig(epochs=3, min_steps_per_epoch=3, batch_size=2, device="cpu", head=HEAD, validate_every_epochs=2)


def scene(index: int, height: int, width: int) -> np.ndarray:
    """Noise; brighter from frame 12 to 25 and from 40 on."""
    coarse = np.random.default_rng(index).integers(0, 120, (height // 8, width // 8, 3), dtype=np.uint8)
    bright = 100 if 12 <= index < 25 or index >= 40 else 0
    return np.kron(coarse, np.ones((8, 8, 1), np.uint8)) + np.uint8(bright)


def make_data(folder: Path) -> Path:
    """Write the encoder, four videos and their annotations."""
    (folder / "own.py").write_text(OWN)
    database = {}
    for name, frames, subset in (
        ("a", 50, "training"),
        ("b", 37, "training"),
        ("c", 45, "training"),
        ("d", 48, "validation"),
    ):
        make.constant(folder / "videos" / f"{name}.mp4", frames, 10, size=(48, 80), draw=scene)
        segments = [{"segment": [1.2, 2.5], "label": "bright"}]
        segments += [{"segment": [4.0, frames / 10], "label": "dim"}] if frames > 42 else []
        subset = "validation" if name == "d" else "training"
        database[name] = {"subset": subset, "duration": frames / 10, "annotations": segments}
    (folder / "annotations.json").write_text(json.dumps({"version": "1", "database": database}))
    return folder


def settings(data: Path, **changes: Any) -> EndToEndConfig:
    own = f"{data / 'own.py'}:small"
    return EndToEndConfig(encoder=own, weights="own", stride_frames=2.5, precision="fp32", **changes)


def request(data: Path, out: Path, config: TrainConfig = TINY, **changes: Any) -> Request:
    videos, annotations = [data / "videos"], data / "annotations.json"
    return Request(videos, annotations, out, config, settings(data, **changes), frames=data / "frames")


def extracted(data: Path, out: Path, weights: str = "own"):
    config = replace(settings(data).extraction(weights=weights, device="cpu"), workers=1)
    return extract([data / "videos"], out, config)[0]

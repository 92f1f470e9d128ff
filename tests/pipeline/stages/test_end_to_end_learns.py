"""Behavior: what the encoder's last layer throws away cannot be learned from its features, but end to end."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline.annotations.segments import Detection
from pipeline.config import LocalizeConfig
from pipeline.detection.model import load_model
from pipeline.heads.config import HeadConfig, TrainConfig
from pipeline.stages.end_to_end_data import Request
from pipeline.stages.extract import extract
from pipeline.stages.localize import localize
from pipeline.stages.train import train
from pipeline.stages.train_end_to_end import train_end_to_end
from pipeline.training.end_to_end_config import EndToEndConfig
from tests import videos as make

# The first layer compares each picture with the one before, moved by 2 pixels to either side; its channels tell left
# from right. The second layer has the same weights for both sides, and so tells motion, but not its direction.
OWN = """
import torch
from encoders.spec import EncoderSpec


class Blind(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.sides = torch.nn.Conv3d(1, 4, (2, 1, 5), padding=(0, 0, 2), bias=False)
        self.mix = torch.nn.Sequential(torch.nn.Conv3d(4, 6, 1, bias=False))
        weight = torch.zeros(4, 1, 2, 1, 5)
        for channel, (sign, place) in enumerate(((1, 0), (-1, 0), (1, 4), (-1, 4))):
            weight[channel, 0, 1, 0, 2], weight[channel, 0, 0, 0, place] = sign, -sign
        self.sides.weight.data = weight
        either = torch.randn(6, 1, 1, 1, 1, generator=torch.Generator().manual_seed(0))
        self.mix[0].weight.data = either.expand(6, 4, 1, 1, 1).clone()

    def forward(self, clips):
        return self.mix(torch.relu(self.sides(clips.mean(dim=1, keepdim=True)))).mean(dim=(2, 3, 4))


def blind():
    spec = EncoderSpec(
        name="blind", version=1, feature_dim=6, num_frames=4, window_frames=8, fps=10.0, short_side=24, crop_size=24,
        mean=(0.5, 0.5, 0.5), std=(0.3, 0.3, 0.3), layout="clip", source="motion without direction",
    )
    return spec, Blind()
"""
FRAMES, LONG = 64, 16
STARTS = (6, 38)
HEAD = HeadConfig(embed_dim=16, levels=2, stem_blocks=1, tower_layers=1, block="conv", dropout=0.0)
CONFIG = TrainConfig(
    epochs=8, min_steps_per_epoch=8, batch_size=4, learning_rate=3e-3, device="cpu", head=HEAD,
    train_subset="training", validate_every_epochs=8, ema_decay=0.9, warmup_epochs=1,
)  # fmt: skip


def bars(directions: tuple[int, int]):
    """Bars that move by a pixel a frame, to the left (-1) or the right (1), in two stretches; else they stand still."""

    def draw(index: int, height: int, width: int) -> np.ndarray:
        gone = [np.clip(index - start, 0, LONG) for start in STARTS]
        place = sum(direction * frames for direction, frames in zip(directions, gone, strict=True))
        line = 120 + 100 * np.sin((np.arange(width) - place) * 2 * np.pi / 8)
        return np.broadcast_to(line[None, :, None], (height, width, 3)).astype(np.uint8)

    return draw


@pytest.fixture
def data(tmp_path: Path) -> Path:
    (tmp_path / "own.py").write_text(OWN)
    names, database = {-1: "left", 1: "right"}, {}
    for number in range(12):
        directions = ((-1, 1), (1, -1), (1, 1), (-1, -1))[number % 4]
        make.constant(tmp_path / "videos" / f"v{number}.mp4", FRAMES, 10, size=(24, 32), draw=bars(directions))
        segments = [
            {"segment": [start / 10, (start + LONG) / 10], "label": names[direction]}
            for start, direction in zip(STARTS, directions, strict=True)
        ]
        subset = "training" if number < 8 else "validation"
        database[f"v{number}"] = {"subset": subset, "duration": FRAMES / 10, "annotations": segments}
    (tmp_path / "annotations.json").write_text(json.dumps({"version": "1", "database": database}))
    return tmp_path


def right_labels(detections: dict[str, list[Detection]], annotations: Path) -> float:
    """The share of the segments of the validation videos whose best detection there has the right label."""
    hits = []
    for name, video in json.loads(annotations.read_text())["database"].items():
        for truth in video["annotations"] if video["subset"] == "validation" else ():
            middle = sum(truth["segment"]) / 2
            there = [d for d in detections[name] if d.segment[0] < middle < d.segment[1]]
            hits.append(bool(there) and max(there, key=lambda d: d.score).label == truth["label"])
    assert len(hits) == 8
    return sum(hits) / len(hits)


@pytest.mark.slow
def test_a_cue_that_the_last_layer_throws_away_is_learned_end_to_end_only(data: Path, tmp_path: Path) -> None:
    truth, own = data / "annotations.json", f"{data / 'own.py'}:blind"
    learning = EndToEndConfig(
        encoder=own, weights="own", stride_frames=2, precision="fp32", encoder_learning_rate=3e-2, frozen_stages=1,
        random_crop=False, flip=False, chunk_snippets=16,
    )  # fmt: skip
    request = Request([data / "videos"], truth, tmp_path / "joint", CONFIG, learning)
    train_end_to_end(request)
    store, _ = extract([data / "videos"], tmp_path / "store", replace(learning.extraction(device="cpu"), workers=1))
    train(store, truth, tmp_path / "frozen", CONFIG)
    somewhere = LocalizeConfig(device="cpu", encoder=own)
    joint = localize([data / "videos"], load_model(tmp_path / "joint"), somewhere).detections
    frozen = localize([store.path], load_model(tmp_path / "frozen"), LocalizeConfig(device="cpu")).detections
    assert right_labels(joint, truth) > 0.9
    assert right_labels(frozen, truth) <= 0.75  # of 8, half by chance
    # The second readout: a fresh head on what the new encoder gives.
    weights = str(tmp_path / "joint" / "encoder.safetensors")
    new, _ = extract(
        [data / "videos"], tmp_path / "new", replace(learning.extraction(weights=weights, device="cpu"), workers=1)
    )
    train(new, truth, tmp_path / "fresh", CONFIG)
    fresh = localize([new.path], load_model(tmp_path / "fresh"), LocalizeConfig(device="cpu")).detections
    assert right_labels(fresh, truth) > 0.9

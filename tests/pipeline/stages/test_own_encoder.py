"""A user's own encoder, from its file to features and detections."""

import pytest

from pipeline.config import LocalizeConfig
from pipeline.detection.model import load_model
from pipeline.errors import PipelineError
from pipeline.extraction.config import ExtractConfig
from pipeline.stages.extract import extract
from pipeline.stages.localize import localize
from pipeline.stages.train import train
from tests.pipeline.stages.test_localize import TINY, write_annotations
from tests.pipeline.stages.test_stages import gray_video

FILE = """
import torch
from encoders.spec import EncoderSpec


class MeanColor(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.gain = torch.nn.Parameter(torch.tensor(2.0))

    def forward(self, clips):  # [B, 3, F, H, W]
        return self.gain * clips.mean(dim=(2, 3, 4))


def mine():
    spec = EncoderSpec(
        name="mine", version=1, feature_dim=3, num_frames=2, window_frames=4, fps=10.0, short_side=32, crop_size=32,
        mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0), layout="clip", source="mean color",
    )
    return spec, MeanColor()
"""


def test_own_encoder_extracts_and_localizes(tmp_path):
    (tmp_path / "own.py").write_text(FILE)
    own = f"{tmp_path / 'own.py'}:mine"
    for name in ("a", "b"):
        gray_video(tmp_path / "videos" / f"{name}.mp4", 24)
    config = ExtractConfig(encoder=own, stride_frames=4, precision="fp32", workers=1)
    store, summary = extract([tmp_path / "videos"], tmp_path / "store", config)
    assert summary.done == 2
    # Frames 1 and 3 of the first snippet have levels 8 and 24; the network doubles their mean.
    assert store.read("a").features[0] * 255 == pytest.approx([2 * 16] * 3, abs=4)

    write_annotations(tmp_path / "annotations.json", a="training", b="validation")
    train(store, tmp_path / "annotations.json", tmp_path / "model", TINY)
    model = load_model(tmp_path / "model")
    with pytest.raises(PipelineError, match=r"--encoder FILE\.py:NAME"):
        localize([tmp_path / "videos"], model, LocalizeConfig())
    found = localize([tmp_path / "videos"], model, LocalizeConfig(encoder=own))
    assert found.detections == localize([store.path], model, LocalizeConfig()).detections

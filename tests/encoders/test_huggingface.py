"""Models of transformers as encoders: equal to the library's own way, on the same frames."""

import pytest
import torch

from encoders.encoder import load_encoder
from tests.encoders.tiny_models import FRAMES, MAKERS, SQUARE, tiny


def frames_for(encoder, batch: int = 3) -> torch.Tensor:
    """Return scaled frames, uint8 [B, F, H, W, 3], wider than high where the encoder keeps the aspect ratio."""
    height, width = encoder.spec.resized(100, 150)
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (batch, encoder.spec.num_frames, height, width, 3), generator=generator).byte()


def cropped(encoder, frames: torch.Tensor) -> torch.Tensor:
    top, left, side = encoder.spec.crop_box(*frames.shape[2:4])
    return frames[:, :, top : top + side, left : left + side]


@pytest.mark.parametrize("kind", MAKERS)
def test_features_equal_those_of_the_librarys_own_way(kind, tmp_path):
    model = tiny(kind)
    encoder = load_encoder(f"hf:{model.save(tmp_path / kind)}", precision="fp32", device="cpu")
    frames = frames_for(encoder)
    expected = model.features(frames)
    assert expected.std(0).max() > 1e-3, "the features must tell snippets apart"
    torch.testing.assert_close(encoder.encode(cropped(encoder, frames)), expected, atol=1e-5, rtol=1e-5)
    clips = kind in ("videomae", "vjepa2", "timesformer", "vivit", "xclip")
    taken = (FRAMES, 64, "clip") if clips else (3, 16, "frames")
    assert (encoder.spec.num_frames, encoder.spec.window_frames, encoder.spec.layout) == taken
    assert encoder.spec.name == f"hf:{kind}" and not encoder.weights.random

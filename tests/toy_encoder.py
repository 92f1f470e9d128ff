"""A tiny encoder in a file of its own, as users bring theirs: ``--encoder tests/toy_encoder.py:toy``."""

import torch

from encoders.spec import EncoderSpec


class Toy(torch.nn.Module):
    """A fixed random projection of the clip's pictures, shrunk to 4 x 4."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.weight = torch.nn.Parameter(torch.randn(48, 16, generator=generator))

    def forward(self, clip: torch.Tensor) -> torch.Tensor:
        """Return features [B, 16] of a clip [B, 3, F, H, W]."""
        return torch.nn.functional.adaptive_avg_pool3d(clip, (1, 4, 4)).flatten(1) @ self.weight


def toy() -> tuple[EncoderSpec, torch.nn.Module]:
    """Return the description and the network, as --encoder FILE.py:NAME asks for."""
    spec = EncoderSpec(
        name="toy",
        version=1,
        feature_dim=16,
        num_frames=4,
        window_frames=16,
        fps=30.0,
        short_side=32,
        crop_size=32,
        mean=(0.45,) * 3,
        std=(0.225,) * 3,
        layout="clip",
        source="a fixed projection",
    )
    return spec, Toy()

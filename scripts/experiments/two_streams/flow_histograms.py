"""Histograms of optical flow as an encoder: what moves where, and in which direction. It needs no weights.

    sola-pipeline extract videos/ --out flow/ --precision fp32 \\
        --encoder scripts/experiments/two_streams/flow_histograms.py:flow_histograms

The flow is OpenCV's DIS (pip install opencv-python-headless), a hundred times faster than TV-L1 at this size.

Source: Laptev, Marszalek, Schmid and Rozenfeld, Learning realistic human actions from movies, 2008 (HOF); Kroeger,
    Timofte, Dai and Van Gool, Fast optical flow using dense inverse search, 2016 (DIS).
"""

from itertools import pairwise

import cv2
import numpy as np
import torch

from encoders.spec import EncoderSpec

SIDE, CELLS, DIRECTIONS, FRAMES = 112, 4, 8, 8
STILL = 0.5  # pixels: less counts as no motion
DIM = 2 * CELLS * CELLS * (DIRECTIONS + 1)
# Length of a row. That of EfficientNet-Lite0's features, so that neither stream rules the cosines of [rgb | flow].
LENGTH = 15.0


class FlowHistograms(torch.nn.Module):
    """Mean and deviation over a snippet of the histogram of each cell: directions, weighted by speed, and stillness."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("length", torch.tensor(LENGTH))

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        """Return features float32 [B, DIM] of clips [B, 3, F, SIDE, SIDE] from 0 to 1."""
        frames = (clips.float().mean(dim=1) * 255).round().clamp(0, 255).to(torch.uint8).cpu().numpy()
        rows = torch.from_numpy(np.stack([_histograms(clip) for clip in frames]))
        return rows.to(clips.device) * self.length.float()


def _histograms(frames: np.ndarray) -> np.ndarray:
    """Return the features [DIM] of gray frames uint8 [F, SIDE, SIDE]; their squares sum to 1."""
    flow = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
    parts = np.stack([_cells(flow.calc(a, b, None)) for a, b in pairwise(frames)])
    both = np.concatenate([parts.mean(axis=0), parts.std(axis=0)])
    rooted = np.sqrt(both)
    return (rooted / max(1e-6, float(np.linalg.norm(rooted)))).astype(np.float32)


def _cells(flow: np.ndarray) -> np.ndarray:
    """Return the histograms of all cells, [CELLS * CELLS * (DIRECTIONS + 1)], of flow [SIDE, SIDE, 2] in pixels."""
    speed = np.hypot(flow[..., 0], flow[..., 1])
    turn = np.arctan2(flow[..., 1], flow[..., 0]) / (2 * np.pi) % 1.0
    kind = np.where(speed < STILL, DIRECTIONS, np.rint(turn * DIRECTIONS).astype(int) % DIRECTIONS)
    place = np.arange(SIDE) * CELLS // SIDE
    bins = (place[:, None] * CELLS + place) * (DIRECTIONS + 1) + kind
    weights = np.where(kind == DIRECTIONS, STILL, speed)
    return np.bincount(bins.ravel(), weights.ravel(), minlength=CELLS * CELLS * (DIRECTIONS + 1)) / SIDE**2


def flow_histograms() -> tuple[EncoderSpec, torch.nn.Module]:
    """Return the encoder: 8 of every 16 frames at 30 frames a second."""
    spec = EncoderSpec(
        name="flow_histograms",
        version=1,
        feature_dim=DIM,
        num_frames=FRAMES,
        window_frames=16,
        fps=30.0,
        short_side=128,
        crop_size=SIDE,
        mean=(0.0, 0.0, 0.0),
        std=(1.0, 1.0, 1.0),
        layout="clip",
        source="Histograms of optical flow (Laptev et al. 2008) of DIS flow (Kroeger et al. 2016)",
    )
    return spec, FlowHistograms()

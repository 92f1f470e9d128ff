"""Optical flow: by how many pixels each point of a frame moves, right and down, until the next frame; as bytes.

A byte is 128 + 127.5 / 20 * pixels, rounded and kept within 0 to 255: motion is clamped to 20 pixels of the scaled
frame (short side 256), no motion is exactly 128. That is the range in which I3D and TSN saw flow in training.

Source: github.com/deepmind/kinetics-i3d, README (TV-L1 of gray frames at 25 fps, clamped to [-20, 20]);
    open-mmlab/denseflow (TV-L1, bound 20, as bytes). TV-L1: Zach, Pock and Bischof, A Duality Based Approach for
    Realtime TV-L1 Optical Flow, 2007. RAFT: Teed and Deng, 2020.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import PipelineError

Method = Literal["tvl1", "raft"]
METHODS = ("tvl1", "raft")
VERSION = 1  # of the definitions in this file; it rises when the bytes of the same frames would change

CLAMP_PIXELS = 20
NO_MOTION = 128
RANDOM = "random"

# From one frame to the next, both RGB, uint8 [H, W, 3]: float32 [H, W, 2] in pixels, right then down.
Estimate = Callable[[NDArray[np.uint8], NDArray[np.uint8]], NDArray[np.float32]]

_RAFT_SMALLEST = 128  # pixels of a side
_RAFT_STEP = 8  # sides must be a multiple of this


@dataclass(frozen=True, kw_only=True)
class FlowSettings:
    """How flow is estimated.

    Args:
        method: "tvl1" (OpenCV's implementation with its defaults) or "raft" (torchvision's).
        weights: of RAFT: a file, or "random".
        device: where RAFT runs; TV-L1 knows only the processor.
        threads: pairs of frames that one process works on side by side.
    """

    method: Method = "tvl1"
    weights: str = RANDOM
    device: str = "cpu"
    threads: int = 1

    @property
    def bytes_of_memory(self) -> int | None:
        """Address space that the estimators may take beside what decoding does; None: no telling."""
        if self.device != "cpu":  # CUDA reserves as much as it likes
            return None
        return self.threads * ((1 << 28) if self.method == "tvl1" else (1 << 30))


def flow_as_bytes(flow: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Flow in pixels, of any shape, as bytes: 128 is no motion, 0 and 255 are 20 pixels and more."""
    scaled = np.rint(flow * np.float32(127.5 / CLAMP_PIXELS) + NO_MOTION)
    bytes_: NDArray[np.uint8] = np.clip(scaled, 0, 255).astype(np.uint8)
    return bytes_


def require(method: Method) -> None:
    """Refuses a method whose library is not installed.

    Raises:
        PipelineError: tells what to install.
    """
    if method != "tvl1":
        return
    try:
        import cv2
    except ImportError:
        found = "OpenCV is not installed"
    else:
        if hasattr(cv2, "optflow"):
            return
        found = f"the OpenCV that is installed ({cv2.__version__}) is without them: remove it first"
    raise PipelineError(
        f"flow 'tvl1' needs OpenCV with its contributed modules, and {found}; "
        'pip install "sola-pipeline[flow]" (opencv-contrib-python-headless), or choose --flow raft'
    )


def library_version(method: Method) -> dict[str, str]:
    """Name and version of the library that estimates."""
    if method == "tvl1":
        import cv2

        return {"opencv": str(cv2.__version__)}
    return {}  # torchvision's version stands in every sidecar


def estimators(settings: FlowSettings) -> Callable[[], Estimate]:
    """Makes estimators; each thread must have its own. What they give does not depend on how many there are."""
    if settings.method == "tvl1":
        return _tvl1
    estimate = _raft(settings)
    return lambda: estimate


def _tvl1() -> Estimate:
    import cv2

    cv2.setNumThreads(1)  # the threads that share the pairs are enough
    optflow: Any = cv2.optflow
    estimator = optflow.DualTVL1OpticalFlow_create()

    def estimate(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> NDArray[np.float32]:
        gray = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in (first, second)]
        try:
            flow: NDArray[np.float32] = estimator.calc(gray[0], gray[1], None)
        except cv2.error as error:
            if error.code == cv2.Error.StsNoMem:
                raise MemoryError from None
            raise
        return flow

    return estimate


def _raft(settings: FlowSettings) -> Estimate:
    import torch
    from torch.nn.functional import pad

    network = _raft_network(settings.weights).eval().requires_grad_(False).to(settings.device)

    def estimate(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> NDArray[np.float32]:
        height, width = first.shape[:2]
        below, beside = (max(-side % _RAFT_STEP, _RAFT_SMALLEST - side) for side in (height, width))
        with torch.inference_mode():
            both = torch.from_numpy(np.stack([first, second])).to(settings.device)
            both = pad(both.permute(0, 3, 1, 2).float() / 127.5 - 1, (0, beside, 0, below), "replicate")
            flow = network(both[:1], both[1:])[-1]
            moved: NDArray[np.float32] = flow[0, :, :height, :width].permute(1, 2, 0).cpu().numpy()
        return moved

    return estimate


def _raft_network(weights: str) -> Any:
    """torchvision's large or small network, as the file's own sizes say; small when it is random."""
    from pathlib import Path

    import torch
    from torchvision.models.optical_flow import raft_large, raft_small

    from encoders.layouts import unwrap
    from encoders.weights import read_file

    torch.set_num_threads(1)  # the threads that share the pairs are enough
    if weights == RANDOM:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return raft_small(weights=None)
    state = unwrap(read_file(Path(weights)), where=f"weights file {weights}")
    stem = state.get("feature_encoder.convnormrelu.0.weight")
    network = (raft_large if stem is not None and len(stem) == 64 else raft_small)(weights=None)
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        words = str(error).strip().splitlines()[0]
        raise PipelineError(f"raft_weights {weights} is no file of torchvision's RAFT: {words}") from None
    return network

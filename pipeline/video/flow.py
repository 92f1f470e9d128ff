"""Optical flow: how many pixels each point of a frame moves, right and down, until the next frame; stored as bytes.

A byte is 128 + 127.5 / 20 * pixels, rounded and clamped to 0 to 255: motion is clamped to 20 pixels of the scaled frame
(short side 256), and no motion is exactly 128. I3D and TSN saw flow in this range in training.

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
VERSION = 1  # of the definitions in this file; raise it when the bytes of the same frames change

CLAMP_PIXELS = 20
NO_MOTION = 128
RANDOM = "random"

# Takes a frame and the next one, both RGB, uint8 [H, W, 3]; returns float32 [H, W, 2] in pixels, right then down.
Estimate = Callable[[NDArray[np.uint8], NDArray[np.uint8]], NDArray[np.float32]]

_RAFT_SMALLEST = 128  # pixels of a side
_RAFT_STEP = 8  # sides must be a multiple of this


@dataclass(frozen=True, kw_only=True)
class FlowSettings:
    """The settings of flow estimation.

    Args:
        method: "tvl1" (OpenCV's implementation with its defaults) or "raft" (torchvision's).
        weights: weights of RAFT: a file, or "random".
        device: device of RAFT; TV-L1 runs on the processor only.
        threads: pairs of frames that one process works on in parallel.
    """

    method: Method = "tvl1"
    weights: str = RANDOM
    device: str = "cpu"
    threads: int = 1

    @property
    def bytes_of_memory(self) -> int | None:
        """Address space of the estimators, in bytes, on top of decoding; None if unknown."""
        if self.device != "cpu":  # CUDA reserves any amount
            return None
        return self.threads * ((1 << 28) if self.method == "tvl1" else (1 << 30))


def flow_as_bytes(flow: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Convert flow in pixels, of any shape, to bytes: 128 is no motion, 0 and 255 are 20 pixels and more."""
    scaled = np.rint(flow * np.float32(127.5 / CLAMP_PIXELS) + NO_MOTION)
    bytes_: NDArray[np.uint8] = np.clip(scaled, 0, 255).astype(np.uint8)
    return bytes_


def require(method: Method) -> None:
    """Check that the library of a method is installed.

    Raises:
        PipelineError: it is not; the message says what to install.
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
        found = f"the installed OpenCV ({cv2.__version__}) lacks them: remove it first"
    raise PipelineError(
        f"flow 'tvl1' needs OpenCV with its contributed modules, and {found}; "
        'pip install "sola-pipeline[flow]" (opencv-contrib-python-headless), or choose --flow raft'
    )


def library_version(method: Method) -> dict[str, str]:
    """Return the name and version of the library that estimates flow."""
    if method == "tvl1":
        import cv2

        return {"opencv": str(cv2.__version__)}
    return {}  # every sidecar names torchvision's version


def estimators(settings: FlowSettings) -> Callable[[], Estimate]:
    """Return a function that makes estimators, one for each thread. Results do not depend on their number."""
    if settings.method == "tvl1":
        return _tvl1
    estimate = _raft(settings)
    return lambda: estimate


def _tvl1() -> Estimate:
    import cv2

    cv2.setNumThreads(1)  # there is already a thread for each pair of frames
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
    """Return torchvision's large or small network, whichever fits the file; small if random."""
    from pathlib import Path

    import torch
    from torchvision.models.optical_flow import raft_large, raft_small

    from encoders.layouts import unwrap
    from encoders.weights import read_file

    torch.set_num_threads(1)  # there is already a thread for each pair of frames
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

"""Decode with torchcodec, on request: on the processor, or by the decoders of an NVIDIA card.

It needs shared libraries of FFmpeg, and loads torch into the decoder process. Its pictures are converted to RGB at full
size and then scaled, while PyAV's are converted and scaled at once: pixels differ a little, frames do not.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Generator
from functools import partial
from itertools import islice
from operator import eq
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import PipelineError
from pipeline.video.errors import VideoError
from pipeline.video.frame_folder import FORMAT as FRAME_FOLDER
from pipeline.video.metadata import Progress, VideoInfo, no_progress
from pipeline.video.pictures import Geometry
from pipeline.video.pyav_backend import DecodeCounts, TimedFrame

_INSTEAD = "or use decoder 'auto' or 'pyav'"
# At this level FFmpeg reports damage that it conceals; torchcodec silences it otherwise.
_LOG_LEVEL = ("TORCHCODEC_FFMPEG_LOG_LEVEL", "ERROR")


def require(device: str) -> None:
    """Check that torchcodec can run here.

    Args:
        device: "cpu" or "cuda".

    Raises:
        PipelineError: it is not installed, finds no FFmpeg, or there is no CUDA device.
    """
    if importlib.util.find_spec("torchcodec") is None:
        raise PipelineError(
            "decoder is 'torchcodec', which is not installed; run pip install 'sola-pipeline[torchcodec]', " + _INSTEAD
        )
    os.environ.setdefault(*_LOG_LEVEL)
    try:
        import torchcodec.decoders  # noqa: F401
    except (ImportError, OSError, RuntimeError) as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        words = lines[0] if lines else type(error).__name__
        raise PipelineError(
            f"decoder 'torchcodec' cannot be loaded ({words.rstrip('.')}); it needs the shared libraries of FFmpeg 4 "
            f"or later (Debian and Ubuntu: apt install ffmpeg) and a release that fits the installed torch, {_INSTEAD}"
        ) from None
    if device == "cuda":
        import torch

        if not torch.cuda.is_available():
            raise PipelineError("decode_device is 'cuda', and torch finds no CUDA device; use decode_device 'cpu'")


def version() -> str:
    """Return the versions of torchcodec and of FFmpeg's decoders under it."""
    from importlib.metadata import version as installed

    from torchcodec._core.ops import get_ffmpeg_library_versions

    codec = get_ffmpeg_library_versions().get("libavcodec", "unknown")
    words = ".".join(map(str, codec)) if isinstance(codec, (list, tuple)) else str(codec)
    return f"{installed('torchcodec')} (libavcodec {words})"


def why_wrong(info: VideoInfo) -> str | None:
    """Return why torchcodec is not trusted with this video; None if it shows the frames of the probe."""
    reasons = (
        (info.format == FRAME_FOLDER, "a folder of pictures"),
        (info.by_order, "the container stores no presentation times"),
        (info.num_video_streams > 1, "several video streams"),
        (info.discarded > 0, "an edit list hides packets"),
        (not info.clean_start, "does not start with a key frame"),
        (any(map(eq, info.timestamps, islice(info.timestamps, 1, None))), "two frames have one timestamp"),
        (not info.upright, "rotated, mirrored, or with another display matrix"),
    )
    return next((words for applies, words in reasons if applies), None)


def shown_frames(
    info: VideoInfo,
    geometry: Geometry,
    counts: DecodeCounts,
    *,
    progress: Progress = no_progress,
    entry: int = 0,
    device: str = "cpu",
) -> Generator[TimedFrame, None, None]:
    """Yield the frames of a video in display order; decode those whose picture is requested.

    Args:
        entry: the frame to begin with, one of `info.entries` or 0.
        device: "cpu" or "cuda".

    Raises:
        VideoError: decode_error, if torchcodec cannot read the file or shows other frames than the probe found.
    """
    reader = _open(info, geometry, device)
    first = counts.first_tick = info.timestamps[0]
    for index in range(entry, info.num_frames):
        progress()
        tick = info.timestamps[index]
        following = None if index + 1 == info.num_frames else info.timestamps[index + 1] - first
        yield TimedFrame(tick - first, following, partial(_picture, reader, geometry, info, index))
        counts.decoded += 1


def _open(info: VideoInfo, geometry: Geometry, device: str) -> Any:
    wrong = why_wrong(info)
    if geometry.interpolation != "bilinear":
        wrong = f"the encoder's frames are scaled {geometry.interpolation}, torchcodec's bilinear"
    if wrong:
        raise VideoError("decode_error", f"torchcodec is not exact here ({wrong}); use decoder 'auto' or 'pyav'")
    os.environ.setdefault(*_LOG_LEVEL)
    from torchcodec.decoders import VideoDecoder

    # With the absolute path, a name like "concat:a|b" is a file name; the probe has refused playlists.
    settings: dict[str, Any] = {"dimension_order": "NHWC", "device": device, "seek_mode": "exact"}
    name = f"file:{info.path.absolute()}"
    reader = _call(lambda: VideoDecoder(name, stream_index=info.stream_index, **settings))
    if len(reader) != info.num_frames:
        raise VideoError("decode_error", f"torchcodec sees {len(reader)} frames, the container holds {info.num_frames}")
    return reader


def _picture(reader: Any, geometry: Geometry, info: VideoInfo, index: int) -> NDArray[np.uint8]:
    frame = _call(lambda: reader.get_frame_at(index))
    seconds = float(info.timestamps[index] * info.time_base)
    if abs(frame.pts_seconds - seconds) > 0.5 / float(info.fps):
        shown = f"frame {index} at {frame.pts_seconds:.3f} s, not {seconds:.3f}"
        raise VideoError("decode_error", f"torchcodec shows {shown}")
    return geometry.crop(_resized(frame.data, geometry.height, geometry.width))


def _resized(pixels: Any, height: int, width: int) -> NDArray[np.uint8]:
    """Return pixels uint8 [H, W, 3], scaled by a triangle filter that widens with the scale, as swscale's bilinear."""
    from torch.nn.functional import interpolate

    if pixels.shape[:2] != (height, width):
        planes = pixels.permute(2, 0, 1)[None]
        planes = planes.float() if pixels.is_cuda else planes  # cards scale no whole numbers
        planes = interpolate(planes, size=(height, width), mode="bilinear", antialias=True)
        planes = planes.round().clamp(0, 255).byte() if pixels.is_cuda else planes
        pixels = planes[0].permute(1, 2, 0)
    made: NDArray[np.uint8] = pixels.cpu().numpy()
    return made


def _call(function: Callable[[], Any]) -> Any:
    """Return the result of a call into torchcodec; turn its error types into one."""
    try:
        return function()
    except (RuntimeError, ValueError, IndexError) as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        raise VideoError("decode_error", f"torchcodec: {lines[0] if lines else type(error).__name__}") from None

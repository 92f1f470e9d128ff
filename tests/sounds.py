"""Makes small videos whose audio beeps at known seconds."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from tests.videos import picture_of

FPS = 10


def beeping(seconds: float, beeps: list[tuple[float, float]], *, rate: int, hertz: float = 1000.0) -> np.ndarray:
    """Return samples int16 [n]: a tone of half the loudness in each (start, end), silence elsewhere."""
    times = np.arange(round(seconds * rate)) / rate
    loud = np.zeros(len(times), bool)
    for start, end in beeps:
        loud |= (times >= start) & (times < end)
    return np.where(loud, 16000 * np.sin(2 * np.pi * hertz * times), 0).astype(np.int16)


def write_with_audio(
    path: Path,
    frames: int,
    samples: np.ndarray | None,
    *,
    rate: int = 48000,
    codec: str = "pcm_s16le",
    audio_from: Fraction = Fraction(0),
    video_from: int = 0,
) -> Path:
    """Write pictures at 10 a second, the first shown at frame `video_from`, and samples from `audio_from` seconds on.

    Args:
        samples: int16 [n], or [2, n] for two channels; None: no audio.
    """
    layout = "stereo" if samples is not None and samples.ndim == 2 else "mono"
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=FPS)
        video.height = video.width = 64
        video.codec_context.gop_size = 10
        video.pix_fmt, video.options = "yuv420p", {"qp": "12", "bf": "0"}
        audio = container.add_stream(codec, rate=rate, layout=layout) if samples is not None else None
        packets = []
        for index in range(frames):
            frame = av.VideoFrame.from_ndarray(picture_of(index, 64, 64), format="rgb24")
            frame.pts, frame.time_base = video_from + index, Fraction(1, FPS)
            packets += video.encode(frame)
        packets += video.encode(None)
        if audio is not None and samples is not None:
            resampler = av.AudioResampler(format=audio.format.name, layout=layout, rate=rate, frame_size=1024)
            whole = av.AudioFrame.from_ndarray(np.atleast_2d(samples), format="s16p", layout=layout)
            whole.sample_rate, whole.pts, whole.time_base = rate, 0, Fraction(1, rate)
            for frame in [*resampler.resample(whole), *resampler.resample(None)]:
                frame.pts += round(audio_from * rate)
                packets += audio.encode(frame)
            packets += audio.encode(None)
        for packet in sorted(packets, key=lambda packet: packet.dts * packet.time_base):
            container.mux(packet)
    return path

"""Turn times that count frames into seconds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from pipeline.annotations.checking import number
from pipeline.annotations.faults import Fault
from pipeline.annotations.raw import RawAnnotations, RawSegment, RawVideo

FpsOf = Callable[[str], float | None]
"""Returns the frame rate of a video by its id; None if it is not known."""


def in_seconds(raw: RawAnnotations, fps_of: FpsOf | None) -> RawAnnotations:
    """Return the values with all times in seconds: frame f begins at f / rate, for videos of a constant rate.

    Args:
        fps_of: asked for videos whose rate the file does not tell. A video without a rate is a fault.
    """
    faults: list[str] = []
    videos = [
        _in_seconds(video, fps_of, faults) if any(segment.in_frames for segment in video.segments) else video
        for video in raw.videos
    ]
    return replace(raw, videos=videos, faults=(*raw.faults, *faults))


def _in_seconds(video: RawVideo, fps_of: FpsOf | None, faults: list[str]) -> RawVideo:
    fps = _rate(video) or (fps_of(video.id) if fps_of else None)
    if not fps:
        faults.append(
            f"video {video.id!r}: its times are frames, and neither the file nor a video tells the frame rate; make "
            "seconds of them with `annotations FILE --videos FOLDER --out annotations.json`"
        )
        return replace(video, segments=[])
    return replace(video, segments=[_timed(segment, fps) for segment in video.segments], fps=fps)


def _timed(segment: RawSegment, fps: float) -> RawSegment:
    if not segment.in_frames:
        return segment
    return replace(segment, bounds=tuple(bound / fps for bound in segment.bounds), in_frames=False)


def _rate(video: RawVideo) -> float | None:
    """Return the rate that the file tells, if it is a sound one."""
    try:
        if video.fps is not None:
            fps = number(video.fps, "fps")
        elif video.frames is not None and video.duration is not None:
            fps = number(video.frames, "frames") / number(video.duration, "duration")
        else:
            return None
    except (Fault, ZeroDivisionError):
        return None
    return fps if 1e-6 < fps < 1e6 else None

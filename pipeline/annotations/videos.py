"""What annotations need to know about a video file."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class VideoFacts:
    """A video that labels are for.

    Args:
        path: of the file.
        seconds: duration on the video's own clock.
        fps: average frame rate.
        frames: number of frames.
        width, height: of the picture as it is shown, in pixels.
    """

    path: str
    seconds: float
    fps: float
    frames: int
    width: int
    height: int

    @property
    def name(self) -> str:
        """The file's name with its suffix."""
        return self.path.replace("\\", "/").rpartition("/")[2]

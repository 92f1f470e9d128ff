"""The frame rates of video files, for labels that count frames."""

from __future__ import annotations

from collections.abc import Mapping

from pipeline.annotations.frames import FpsOf
from pipeline.annotations.match import find_name, names_by_form
from pipeline.storage.location import local
from pipeline.video.metadata import probe
from pipeline.video.videos import VideoFile


def fps_among(videos: Mapping[str, VideoFile]) -> FpsOf:
    """Return a function from a video's id to its frame rate; None for one that is not among the videos."""
    forms = names_by_form(videos)

    def fps_of(name: str) -> float | None:
        known = find_name(name, forms)
        return None if known is None else float(probe(local(videos[known].path)).fps)

    return fps_of

"""Videos by id, measured when they are asked for."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.annotations.match import find_name, names_by_form
from pipeline.annotations.videos import VideoFacts
from pipeline.errors import PipelineError
from pipeline.storage.location import AnyPath, RemotePath
from pipeline.video.errors import VideoError
from pipeline.video.find import find_videos
from pipeline.video.metadata import probe


class MeasuredVideos:
    """Local videos, whose facts are read once each, without decoding.

    Args:
        inputs: as for `find_videos`.

    Raises:
        PipelineError: no video is found, or two have one id.
    """

    def __init__(self, inputs: Sequence[AnyPath]) -> None:
        self._paths = {video.id: video.path for video in find_videos(inputs)}
        self._forms = names_by_form(self._paths)
        self._facts: dict[str, VideoFacts] = {}

    def ids(self) -> list[str]:
        """Return the ids of all videos."""
        return list(self._paths)

    def find(self, name: str) -> str | None:
        """Return the id that is `name`, or differs only by the prefix `v_` or in code points; None if there is none."""
        return find_name(name, self._forms)

    def facts(self, video_id: str) -> VideoFacts:
        """Return the facts on a video.

        Raises:
            PipelineError: the video is remote or cannot be read.
        """
        if video_id not in self._facts:
            path = self._paths[video_id]
            if isinstance(path, RemotePath):
                raise PipelineError(f"videos: {path} is remote; give a local copy")
            try:
                info = probe(path)
            except VideoError as error:
                raise PipelineError(f"videos: {path}: {error}") from None
            height, width = info.display_size
            self._facts[video_id] = VideoFacts(
                path=str(path),
                seconds=float(info.duration),
                fps=float(info.fps),
                frames=info.num_frames,
                width=width,
                height=height,
            )
        return self._facts[video_id]
